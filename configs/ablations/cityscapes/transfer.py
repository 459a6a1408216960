# A ticket of ADE20K on Cityscapes.
_base_ = ['../_base_/matrices/transfer.py', '../_base_/matrices/cityscapes.py']
