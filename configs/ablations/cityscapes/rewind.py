# The ticket with other masks or other weights, on Cityscapes.
_base_ = ['../_base_/matrices/rewind.py', '../_base_/matrices/cityscapes.py']
