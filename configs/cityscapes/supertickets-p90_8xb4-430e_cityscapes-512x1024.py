# SuperTickets: search and progressive pruning to 90 % in one run, with reactivation (IR-S).
_base_ = './hr-search_8xb4-430e_cityscapes-512x1024.py'

prune = dict(type='ProgressivePruneHook', ratio=0.9, interval=25)
reactivate = dict(type='ReactivateHook', on='search')
custom_hooks = [_base_.ema, _base_.search, prune, reactivate]
