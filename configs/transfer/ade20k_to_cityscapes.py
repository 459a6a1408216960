# An ADE20K ticket on Cityscapes, 50 epochs.
_base_ = '../cityscapes/supertickets-p90-retrain_8xb4-50e_cityscapes-512x1024.py'

ticket = 'work_dirs/supertickets-p90_8xb8-200e_ade20k-512x512/epoch_200.pth'
model = dict(init_cfg=dict(type='Ticket', checkpoint=ticket))
