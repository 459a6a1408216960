# A CamVid ticket on LSP Extended, 14 epochs.
_base_ = '../lspet/hr-supernet-slim_16b-14e_lspet-coco17-96x96.py'

ticket = 'work_dirs/supertickets-p90-slim_8b-40e_camvid-192x256/epoch_40.pth'
model = dict(init_cfg=dict(type='Ticket', checkpoint=ticket))
custom_hooks = [_base_.ema, dict(type='FixedMaskHook')]
