# The same at 95 %.
_base_ = './supertickets-plus-p90-slim_64b-13e_tiny-imagenet-48x48.py'

cubic = dict(ratio=0.95)
learning = dict(schedule={**_base_.cubic, **cubic})
custom_hooks = [_base_.ema, _base_.search, {**_base_.learning, **learning}]
