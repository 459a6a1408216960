# The ladder of the paper's Table 1, on LSP Extended.
_base_ = ['../_base_/matrices/ladder.py', '../_base_/matrices/lspet.py']
