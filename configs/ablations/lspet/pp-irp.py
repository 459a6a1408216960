# Masked weights are set free after each prune (IR-P).
_base_ = './pp.py'

custom_hooks = [*_base_.custom_hooks, dict(type='ReactivateHook', on='prune')]
