# SuperTickets: search and progressive pruning to 90 % in one run, with reactivation (IR-S).
_base_ = './hr-search_8xb48-210e_coco-256x192.py'

prune = dict(  # none at 210, after which nothing trains
    type='ProgressivePruneHook', ratio=0.9, interval=15, end=195
)
reactivate = dict(type='ReactivateHook', on='search')
custom_hooks = [_base_.ema, _base_.search, prune, reactivate]
