# Masks that go on learning in place of PP + IR-S: from its first prune to 80 % of the training.
_base_ = ['./pp.py', '../_base_/straight_through.py']

cubic = dict(type='Cubic', ratio=_base_.ratio, begin=96, end=984, interval=8)
custom_hooks = [_base_.ema, _base_.search, {**_base_.learning, 'schedule': cubic}]
