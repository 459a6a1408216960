# The same with masks at random places, as many in every layer (RP).
_base_ = './transfer-ticket.py'

custom_hooks = [_base_.ema, dict(type='FixedMaskHook', shuffle=True)]
