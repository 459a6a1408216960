# The slim supernet on drawn streets: minutes on a CPU.
_base_ = [
    '../_base_/models/hr_supernet_seg_slim.py',
    '../_base_/datasets/toy_streets.py',
    '../_base_/default_runtime_seg.py',
    '../_base_/schedules/one_cycle_430e.py',
]

model = dict(data_preprocessor=dict(size=(128, 256)))
max_epochs = 30
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
optim_wrapper = dict(optimizer=dict(lr=0.02 / 25))
param_scheduler = [{**_base_.one_cycle, **dict(eta_max=0.02, total_steps=max_epochs)}]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=2))
randomness = dict(seed=0)
