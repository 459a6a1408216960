# IR-S, with each weight weighed against those of its own layer (LAMP).
_base_ = './pp.py'

prune = dict(score='lamp')
custom_hooks = [_base_.ema, _base_.search, {**_base_.prune, **prune}, _base_.reactivate]
