# S+P and SuperTickets over the ratio, on LSP Extended.
_base_ = ['../_base_/matrices/sweep.py', '../_base_/matrices/lspet.py']

ratios = [0.5, 0.7, 0.8, 0.9, 0.95]
