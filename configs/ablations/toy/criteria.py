# S+P by every criterion, on the toy data.
_base_ = ['../_base_/matrices/criteria.py', '../_base_/matrices/toy.py']
