# Masks that go on learning in place of PP + IR-S.
_base_ = [
    '../../tiny_imagenet/supertickets-plus-p90-slim_64b-13e_tiny-imagenet-48x48.py',
    '../_base_/ratio.py',
]

cubic = {**_base_.cubic, 'ratio': _base_.ratio}
custom_hooks = [_base_.ema, _base_.search, {**_base_.learning, 'schedule': cubic}]
