# Masks that go on learning, and the teacher of plus-distill.py.
_base_ = './plus-distill.py'

prune = dict(straight_through='soft')
custom_hooks = [_base_.ema, _base_.search, {**_base_.prune, **prune}, _base_.distill]
