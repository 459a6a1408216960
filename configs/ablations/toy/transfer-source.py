# The SuperTicket of CamVid that is transferred.
_base_ = ['../../camvid/supertickets-p90-slim_8b-40e_camvid-192x256.py', '../_base_/ratio.py']

prune = dict(ratio=_base_.ratio)
custom_hooks = [_base_.ema, _base_.search, {**_base_.prune, **prune}, _base_.reactivate]
