# Search alone, dense: what S+P prunes.
_base_ = '../../tiny_imagenet/supertickets-p90-slim_64b-13e_tiny-imagenet-48x48.py'

custom_hooks = [_base_.ema, _base_.search]
