# The slim supernet on drawn shapes: minutes on a CPU.
_base_ = [
    '../_base_/models/hr_supernet_cls_slim.py',
    '../_base_/datasets/toy_shapes.py',
    '../_base_/default_runtime_cls.py',
    '../_base_/schedules/rmsprop_350e.py',
]

model = dict(data_preprocessor=dict(num_classes=10), head=dict(num_classes=10))
max_epochs = 36
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
optim_wrapper = dict(optimizer=dict(lr=0.004))
warmup = dict(type='LinearLR', start_factor=0.1, end=64, by_epoch=False)
param_scheduler = [warmup, {**_base_.step, **dict(step_size=14)}]  # to a tenth over the run
ema = dict(momentum=0.02)  # few iterations: a short memory
custom_hooks = [{**_base_.ema, **ema}]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=2))
randomness = dict(seed=0)
auto_scale_lr = dict(base_batch_size=32)
