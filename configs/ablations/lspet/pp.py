# Search and progressive pruning in one training, without reactivation.
_base_ = ['../../lspet/supertickets-p90-slim_16b-14e_lspet-aic14-96x96.py', '../_base_/ratio.py']

# nine prunes, that each take more than 10 % where the ratio is above 90 %
prune = dict(ratio=_base_.ratio, **({} if _base_.ratio <= 0.9 else {'step': _base_.ratio / 9}))
custom_hooks = [_base_.ema, _base_.search, {**_base_.prune, **prune}]
