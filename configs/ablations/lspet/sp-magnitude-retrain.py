# S+P by magnitude: the searched network is pruned at once, and trained on under its masks.
_base_ = ['../_base_/retrain/lspet.py', '../_base_/search_then_prune.py']

load_from = 'work_dirs/ablations/lspet/search/epoch_14.pth'
custom_hooks = [_base_.ema, _base_.prune, _base_.initial]
