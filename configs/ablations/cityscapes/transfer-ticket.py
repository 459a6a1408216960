# The SuperTicket of ADE20K on Cityscapes: its backbone under its masks, what is new dense.
_base_ = ['../_base_/retrain/cityscapes.py', '../_base_/ratio.py']

ticket = f'work_dirs/ablations/cityscapes/p{100 * _base_.ratio:g}/transfer-source/epoch_200.pth'
model = dict(init_cfg=dict(type='Ticket', checkpoint=ticket))
custom_hooks = [_base_.ema, dict(type='FixedMaskHook')]
