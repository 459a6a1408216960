# What the paper's recipe does not have, against it, on Tiny-ImageNet-20.
_base_ = ['../_base_/matrices/beyond.py', '../_base_/matrices/tiny_imagenet.py']
