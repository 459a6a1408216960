# A ticket of the toy streets on CamVid, 15 epochs.
_base_ = '../ablations/_base_/retrain/camvid.py'

ticket = 'work_dirs/supertickets-p90-slim_8b-30e_toy-streets-128x256/epoch_30.pth'
model = dict(init_cfg=dict(type='Ticket', checkpoint=ticket))
custom_hooks = [_base_.ema, dict(type='FixedMaskHook')]
