# The ticket with other masks or other weights, on the toy data.
_base_ = ['../_base_/matrices/rewind.py', '../_base_/matrices/toy.py']
