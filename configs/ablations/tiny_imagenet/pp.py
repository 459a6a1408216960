# Search and progressive pruning in one training, without reactivation.
_base_ = [
    '../../tiny_imagenet/supertickets-p90-slim_64b-13e_tiny-imagenet-48x48.py',
    '../_base_/ratio.py',
]

prune = dict(ratio=_base_.ratio)
custom_hooks = [_base_.ema, _base_.search, {**_base_.prune, **prune}]
