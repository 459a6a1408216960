# IR-S, with each score times what its layer's usual init divides by (sigma).
_base_ = './pp.py'

prune = dict(scope='sigma')
reactivate = dict(type='ReactivateHook', on='search')
custom_hooks = [*_base_.custom_hooks[:2], {**_base_.custom_hooks[2], **prune}, reactivate]
