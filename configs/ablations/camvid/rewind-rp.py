# The ticket with masks at random places, as many in every layer (RP), trained further.
_base_ = './pp-irs-retrain.py'

custom_hooks = [_base_.ema, dict(type='FixedMaskHook', shuffle=True)]
