# The SuperTicket, trained on under its masks.
_base_ = ['../_base_/retrain/tiny_imagenet.py', '../_base_/ratio.py']

load_from = f'work_dirs/ablations/tiny_imagenet/p{100 * _base_.ratio:g}/pp-irs/epoch_13.pth'
custom_hooks = [_base_.ema, dict(type='FixedMaskHook')]
