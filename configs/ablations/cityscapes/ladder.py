# The ladder of the paper's Table 1, on Cityscapes.
_base_ = ['../_base_/matrices/ladder.py', '../_base_/matrices/cityscapes.py']
