# SuperTickets at 90 % on CamVid, their masks learning in place of PP + IR-S: docs/beyond.md.
_base_ = ['./supertickets-p90-slim_8b-40e_camvid-192x256.py', '../_base_/straight_through.py']

max_epochs = 15
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [{**_base_.param_scheduler[0], 'total_steps': max_epochs}]
search = dict(interval=92, warmup=92, by_epoch=False)  # every two epochs
cubic = dict(type='Cubic', ratio=0.9, begin=46, end=552, interval=4)
custom_hooks = [_base_.ema, {**_base_.search, **search}, {**_base_.learning, 'schedule': cubic}]
