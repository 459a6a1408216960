# IR-S, with the moving average of the training itself as a teacher.
_base_ = './pp.py'

distill = dict(type='DistillHook', teacher='ema')
custom_hooks = [*_base_.custom_hooks, _base_.reactivate, distill]
