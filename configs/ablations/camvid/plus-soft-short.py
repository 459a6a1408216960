# Masks that go on learning in place of PP + IR-S.
_base_ = ['../../camvid/supertickets-plus-p90-slim_8b-15e_camvid-192x256.py', '../_base_/ratio.py']

cubic = {**_base_.cubic, 'ratio': _base_.ratio}
custom_hooks = [_base_.ema, _base_.search, {**_base_.learning, 'schedule': cubic}]
