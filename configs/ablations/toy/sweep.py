# S+P and SuperTickets over the ratio, on the toy data.
_base_ = ['../_base_/matrices/sweep.py', '../_base_/matrices/toy.py']
