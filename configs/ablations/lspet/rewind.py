# The ticket with other masks or other weights, on LSP Extended.
_base_ = ['../_base_/matrices/rewind.py', '../_base_/matrices/lspet.py']
