# Masks that go on learning (straight through, soft) in place of IR-S.
_base_ = './pp-short.py'

prune = dict(straight_through='soft')
custom_hooks = [_base_.ema, _base_.search, {**_base_.prune, **prune}]
