# The same at 95 %.
_base_ = './supertickets-plus-p90-slim_64b-13e_tiny-imagenet-48x48.py'

cubic = {**_base_.cubic, 'ratio': 0.95}
custom_hooks = [_base_.ema, _base_.search, {**_base_.learning, 'schedule': cubic}]
