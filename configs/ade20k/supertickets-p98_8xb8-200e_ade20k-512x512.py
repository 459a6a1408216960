# SuperTickets at a ratio of 98 %.
_base_ = './supertickets-p90_8xb8-200e_ade20k-512x512.py'

prune = dict(ratio=0.98)
custom_hooks = [_base_.ema, _base_.search, {**_base_.prune, **prune}, _base_.reactivate]
