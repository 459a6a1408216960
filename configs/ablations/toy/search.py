# Search alone, dense: what S+P prunes.
_base_ = '../../toy/supertickets-p90-slim_8b-30e_toy-streets-128x256.py'

custom_hooks = [_base_.ema, _base_.search]
