# Masks that go on learning in place of PP + IR-S.
_base_ = [
    '../../lspet/supertickets-plus-p90-slim_16b-14e_lspet-aic14-96x96.py',
    '../_base_/ratio.py',
]

cubic = dict(ratio=_base_.ratio)
learning = dict(schedule={**_base_.cubic, **cubic})
custom_hooks = [_base_.ema, _base_.search, {**_base_.learning, **learning}]
