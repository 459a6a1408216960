# Masks that go on learning in place of PP + IR-S: from its first prune to 80 % of the training.
_base_ = ['./pp.py', '../../_base_/straight_through.py']

search = dict(interval=184, warmup=184, by_epoch=False)  # the same times, in iterations
cubic = dict(type='Cubic', ratio=_base_.ratio, begin=138, end=1472, interval=8)
custom_hooks = [_base_.ema, {**_base_.search, **search}, {**_base_.learning, 'schedule': cubic}]
