# Search and pruning in one training, to the whole ratio at every prune.
_base_ = './pp.py'

custom_hooks = [_base_.ema, _base_.search, {**_base_.prune, 'step': 1}]
