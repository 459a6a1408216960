# The ticket trained again from fresh weights (RR-Init).
_base_ = ['../_base_/retrain/camvid.py', '../_base_/ratio.py']

run = f'work_dirs/ablations/camvid/p{100 * _base_.ratio:g}/pp-irs'
ticket = f'{run}/epoch_40.pth'
model = dict(init_cfg=dict(type='Ticket', checkpoint=ticket, weights='random'))
custom_hooks = [_base_.ema, dict(type='FixedMaskHook')]
