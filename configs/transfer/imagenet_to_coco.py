# An ImageNet ticket on COCO keypoint, 50 epochs.
_base_ = '../coco_keypoint/supertickets-p90-retrain_8xb48-50e_coco-256x192.py'

ticket = 'work_dirs/supertickets-p90_8xb32-350e_imagenet-224x224/epoch_350.pth'
model = dict(init_cfg=dict(type='Ticket', checkpoint=ticket))
