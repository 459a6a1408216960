# Search and progressive pruning in one training, without reactivation.
_base_ = ['../../lspet/supertickets-p90-slim_16b-14e_lspet-aic14-96x96.py', '../_base_/ratio.py']

prune = dict(ratio=_base_.ratio, step=max(0.1, _base_.ratio / 9))  # nine prunes
custom_hooks = [_base_.ema, _base_.search, {**_base_.prune, **prune}]
