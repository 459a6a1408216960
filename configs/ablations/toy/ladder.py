# The ladder of the paper's Table 1, on the toy data.
_base_ = ['../_base_/matrices/ladder.py', '../_base_/matrices/toy.py']
