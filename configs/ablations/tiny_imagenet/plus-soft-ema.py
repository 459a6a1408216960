# Masks that go on learning, with the moving average of the training itself as a teacher.
_base_ = './plus-soft.py'

custom_hooks = [*_base_.custom_hooks, dict(type='DistillHook', teacher='ema')]
