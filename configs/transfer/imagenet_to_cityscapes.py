# An ImageNet ticket on Cityscapes, 50 epochs.
_base_ = '../cityscapes/supertickets-p90-retrain_8xb4-50e_cityscapes-512x1024.py'

ticket = 'work_dirs/supertickets-p90_8xb32-350e_imagenet-224x224/epoch_350.pth'
model = dict(init_cfg=dict(type='Ticket', checkpoint=ticket))
