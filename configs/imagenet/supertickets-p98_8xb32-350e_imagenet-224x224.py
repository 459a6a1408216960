# SuperTickets at a ratio of 98 %.
_base_ = './supertickets-p90_8xb32-350e_imagenet-224x224.py'

prune = dict(ratio=0.98)
custom_hooks = [_base_.ema, _base_.search, {**_base_.prune, **prune}, _base_.reactivate]
