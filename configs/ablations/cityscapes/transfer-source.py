# The SuperTicket of ADE20K that is transferred.
_base_ = ['../../ade20k/supertickets-p90_8xb8-200e_ade20k-512x512.py', '../_base_/ratio.py']

prune = dict(ratio=_base_.ratio)
custom_hooks = [_base_.ema, _base_.search, {**_base_.prune, **prune}, _base_.reactivate]
