# Masks that go on learning in place of PP + IR-S.
_base_ = [
    '../../lspet/supertickets-plus-p90-slim_16b-14e_lspet-aic14-96x96.py',
    '../_base_/ratio.py',
]

cubic = {**_base_.cubic, 'ratio': _base_.ratio}
custom_hooks = [_base_.ema, _base_.search, {**_base_.learning, 'schedule': cubic}]
