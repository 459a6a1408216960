# SuperTickets at 90 % on Tiny-ImageNet, their masks learning in place of PP + IR-S: docs/beyond.md.
_base_ = ['./supertickets-p90-slim_64b-13e_tiny-imagenet-48x48.py', '../_base_/straight_through.py']

search = dict(interval=471, warmup=471, by_epoch=False)  # every three epochs
cubic = dict(type='Cubic', ratio=0.9, begin=157, end=1632, interval=8)
custom_hooks = [_base_.ema, {**_base_.search, **search}, {**_base_.learning, 'schedule': cubic}]
