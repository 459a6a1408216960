# Masks that go on learning against the paper's recipe, on LSP Extended.
_base_ = ['../_base_/matrices/plus.py', '../_base_/matrices/lspet.py']
