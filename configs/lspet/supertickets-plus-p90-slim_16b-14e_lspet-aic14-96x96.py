# SuperTickets at 90 % on LSP Extended, their masks learning in place of PP + IR-S: docs/beyond.md.
_base_ = ['./supertickets-p90-slim_16b-14e_lspet-aic14-96x96.py', '../_base_/straight_through.py']

cubic = dict(type='Cubic', ratio=0.9, begin=96, end=984, interval=8)
custom_hooks = [_base_.ema, _base_.search, {**_base_.learning, 'schedule': cubic}]
