# The ticket with other masks or other weights, on Tiny-ImageNet-20.
_base_ = ['../_base_/matrices/rewind.py', '../_base_/matrices/tiny_imagenet.py']
