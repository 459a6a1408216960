# The slim supernet on 20 classes of Tiny-ImageNet; 13 epochs of 157 iterations.
_base_ = [
    '../_base_/models/hr_supernet_cls_slim.py',
    '../_base_/datasets/tiny_imagenet.py',
    '../_base_/default_runtime_cls.py',
    '../_base_/schedules/rmsprop_350e.py',
]

model = dict(data_preprocessor=dict(num_classes=20), head=dict(num_classes=20))
max_epochs = 13
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=0.004))  # 0.016 at batch 256
warmup = dict(type='LinearLR', start_factor=0.1, end=157, by_epoch=False)
param_scheduler = [warmup, {**_base_.step, **dict(step_size=24)}]  # to a tenth over the run
ema = dict(momentum=0.01)  # few iterations: a short memory
custom_hooks = [{**_base_.ema, **ema}]
default_hooks = dict(logger=dict(interval=40), checkpoint=dict(interval=1))
randomness = dict(seed=0)
auto_scale_lr = dict(base_batch_size=64)
