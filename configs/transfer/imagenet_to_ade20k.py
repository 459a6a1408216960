# An ImageNet ticket on ADE20K, 50 epochs.
_base_ = '../ade20k/supertickets-p90-retrain_8xb8-50e_ade20k-512x512.py'

ticket = 'work_dirs/supertickets-p90_8xb32-350e_imagenet-224x224/epoch_350.pth'
model = dict(init_cfg=dict(type='Ticket', checkpoint=ticket))
