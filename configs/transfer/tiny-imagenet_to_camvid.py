# A Tiny-ImageNet ticket on CamVid, 15 epochs.
_base_ = '../ablations/_base_/retrain/camvid.py'

ticket = 'work_dirs/supertickets-p90-slim_64b-13e_tiny-imagenet-48x48/epoch_13.pth'
model = dict(init_cfg=dict(type='Ticket', checkpoint=ticket))
custom_hooks = [_base_.ema, dict(type='FixedMaskHook')]
