# SuperTickets at a ratio of 80 %.
_base_ = './supertickets-p90_8xb32-350e_imagenet-224x224.py'

prune = dict(ratio=0.8)
custom_hooks = [_base_.ema, _base_.search, {**_base_.prune, **prune}, _base_.reactivate]
