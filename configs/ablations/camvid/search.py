# Search alone, dense: what S+P prunes.
_base_ = '../../camvid/supertickets-p90-slim_8b-40e_camvid-192x256.py'

custom_hooks = [_base_.ema, _base_.search]
