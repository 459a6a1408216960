# SuperTickets at a ratio of 80 %.
_base_ = './supertickets-p90_8xb48-210e_coco-256x192.py'

prune = dict(ratio=0.8)
custom_hooks = [_base_.ema, _base_.search, {**_base_.prune, **prune}, _base_.reactivate]
