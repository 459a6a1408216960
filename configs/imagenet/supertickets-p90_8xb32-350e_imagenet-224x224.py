# SuperTickets: search and progressive pruning to 90 % in one run, with reactivation (IR-S).
_base_ = './hr-search_8xb32-350e_imagenet-224x224.py'

prune = dict(  # none at 350, after which nothing trains
    type='ProgressivePruneHook', ratio=0.9, interval=25, end=325
)
reactivate = dict(type='ReactivateHook', on='search')
custom_hooks = [_base_.ema, _base_.search, prune, reactivate]
