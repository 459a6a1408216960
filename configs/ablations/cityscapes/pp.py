# Search and progressive pruning in one training, without reactivation.
_base_ = [
    '../../cityscapes/supertickets-p90_8xb4-430e_cityscapes-512x1024.py',
    '../_base_/ratio.py',
]

prune = dict(ratio=_base_.ratio)
custom_hooks = [_base_.ema, _base_.search, {**_base_.prune, **prune}]
