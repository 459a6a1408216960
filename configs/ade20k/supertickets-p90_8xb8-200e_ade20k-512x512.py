# SuperTickets: search and progressive pruning to 90 % in one run, with reactivation (IR-S).
_base_ = './hr-search_8xb8-200e_ade20k-512x512.py'

prune = dict(type='ProgressivePruneHook', ratio=0.9, interval=15)
reactivate = dict(type='ReactivateHook', on='search')
custom_hooks = [_base_.ema, _base_.search, prune, reactivate]
