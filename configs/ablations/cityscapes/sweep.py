# S+P and SuperTickets over the ratio, on Cityscapes.
_base_ = ['../_base_/matrices/sweep.py', '../_base_/matrices/cityscapes.py']
