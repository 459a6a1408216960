# IR-S, with each score times what its layer's usual init divides by (sigma).
_base_ = './pp.py'

prune = dict(scope='sigma')
custom_hooks = [_base_.ema, _base_.search, {**_base_.prune, **prune}, _base_.reactivate]
