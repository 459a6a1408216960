# What the paper's recipe does not have, against it, on LSP Extended.
_base_ = ['../_base_/matrices/beyond.py', '../_base_/matrices/lspet.py']
