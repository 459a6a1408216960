# Masks that go on learning against the paper's recipe, on Tiny-ImageNet-20.
_base_ = ['../_base_/matrices/plus.py', '../_base_/matrices/tiny_imagenet.py']
