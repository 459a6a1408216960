# S+P by every criterion, on Cityscapes.
_base_ = ['../_base_/matrices/criteria.py', '../_base_/matrices/cityscapes.py']
