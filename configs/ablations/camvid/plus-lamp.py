# IR-S, with each weight weighed against those of its own layer (LAMP).
_base_ = './pp.py'

prune = dict(score='lamp')
reactivate = dict(type='ReactivateHook', on='search')
custom_hooks = [*_base_.custom_hooks[:2], {**_base_.custom_hooks[2], **prune}, reactivate]
