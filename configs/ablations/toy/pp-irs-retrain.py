# The SuperTicket, trained on under its masks.
_base_ = ['../_base_/retrain/toy.py', '../_base_/ratio.py']

load_from = f'work_dirs/ablations/toy/p{100 * _base_.ratio:g}/pp-irs/epoch_30.pth'
custom_hooks = [_base_.ema, dict(type='FixedMaskHook')]
