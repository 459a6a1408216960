# The full supernet of Cityscapes on crops of drawn streets: a ticket of full width in minutes. Its
# zeros are real and its scores are not the point: it is what the way out is measured on.
_base_ = [
    '../_base_/models/hr_supernet_seg.py',
    '../_base_/datasets/toy_streets.py',
    '../_base_/default_runtime_seg.py',
    '../_base_/schedules/one_cycle_430e.py',
]

norm_cfg = dict(type='BN', eps=1e-3, momentum=0.1)  # few iterations: a short memory
crop_size = (64, 128)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(norm_cfg=norm_cfg),
    neck=dict(norm_cfg=norm_cfg),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(256, 128), ratio_range=(0.5, 1.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=1)

max_epochs = 8  # of 50 iterations
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=0.02 / 25))
param_scheduler = [{**_base_.one_cycle, **dict(eta_max=0.02, total_steps=max_epochs)}]
ema = {**_base_.ema, **dict(momentum=1 - 0.9999 ** (4 / 4096))}
search = dict(
    type='SearchHook',
    by_epoch=False,
    interval=20,
    rho=4e-3,  # 30 times the published one: about 2 G MACs at 512x1024 stay
    warmup=20,
    threshold=1e-2,
    calibration_batches=4,
)
prune = dict(
    type='ProgressivePruneHook', by_epoch=False, ratio=0.9, interval=30, calibration_batches=4
)  # 90 % from iteration 270 on
reactivate = dict(type='ReactivateHook', on='search')
custom_hooks = [ema, search, prune, reactivate]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=1, max_keep_ckpts=1))
randomness = dict(seed=0)
