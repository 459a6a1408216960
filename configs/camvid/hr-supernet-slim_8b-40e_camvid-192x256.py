# The slim supernet on CamVid; 40 epochs of 46 iterations.
_base_ = [
    '../_base_/models/hr_supernet_seg_slim.py',
    '../_base_/datasets/camvid.py',
    '../_base_/default_runtime_seg.py',
    '../_base_/schedules/one_cycle_430e.py',
]

model = dict(data_preprocessor=dict(size=(192, 256)), decode_head=dict(num_classes=11))
max_epochs = 40
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
optim_wrapper = dict(optimizer=dict(lr=0.02 / 25))
param_scheduler = [{**_base_.one_cycle, **dict(eta_max=0.02, total_steps=max_epochs)}]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=4))
randomness = dict(seed=0)
