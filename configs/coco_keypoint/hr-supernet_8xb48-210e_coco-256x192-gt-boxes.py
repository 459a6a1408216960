# Validation and test on annotated boxes instead of detected ones, for the supernet and any ticket.
_base_ = './hr-supernet_8xb48-210e_coco-256x192.py'

val_dataloader = dict(dataset=dict(bbox_file=None))
test_dataloader = val_dataloader
