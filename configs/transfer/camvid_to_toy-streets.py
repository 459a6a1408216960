# A CamVid ticket on the toy streets, 10 epochs.
_base_ = '../ablations/_base_/retrain/toy.py'

ticket = 'work_dirs/supertickets-p90-slim_8b-40e_camvid-192x256/epoch_40.pth'
model = dict(init_cfg=dict(type='Ticket', checkpoint=ticket))
custom_hooks = [_base_.ema, dict(type='FixedMaskHook')]
