# The SuperTicket, trained on under its masks.
_base_ = ['../_base_/retrain/lspet.py', '../_base_/ratio.py']

load_from = f'work_dirs/ablations/lspet/p{100 * _base_.ratio:g}/pp-irs/epoch_14.pth'
custom_hooks = [_base_.ema, dict(type='FixedMaskHook')]
