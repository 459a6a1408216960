# A Cityscapes ticket on ADE20K, 50 epochs.
_base_ = '../ade20k/supertickets-p90-retrain_8xb8-50e_ade20k-512x512.py'

ticket = 'work_dirs/supertickets-p90_8xb4-430e_cityscapes-512x1024/epoch_430.pth'
model = dict(init_cfg=dict(type='Ticket', checkpoint=ticket))
