# SuperTickets: masked weights are set free after each search step (IR-S).
_base_ = './pp.py'

custom_hooks = [*_base_.custom_hooks, dict(type='ReactivateHook', on='search')]
