# Masks that go on learning (straight through, soft) in place of IR-S.
_base_ = './pp.py'

prune = dict(straight_through='soft')
custom_hooks = [*_base_.custom_hooks[:2], {**_base_.custom_hooks[2], **prune}]
