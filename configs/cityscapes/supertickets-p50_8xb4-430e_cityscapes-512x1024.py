# SuperTickets at a ratio of 50 %.
_base_ = './supertickets-p90_8xb4-430e_cityscapes-512x1024.py'

prune = dict(ratio=0.5)
custom_hooks = [_base_.ema, _base_.search, {**_base_.prune, **prune}, _base_.reactivate]
