# The ladder of the paper's Table 1, on Tiny-ImageNet-20.
_base_ = ['../_base_/matrices/ladder.py', '../_base_/matrices/tiny_imagenet.py']
