# The published recipe for COCO keypoint: 210 epochs, batch 384, Adam at 1e-3, a tenth of it from
# 170 and a hundredth from 200. It stands on the runtime, since it changes its train_cfg and hooks.
_base_ = ['../default_runtime_pose.py', './ema.py']

max_epochs = 210
train_cfg = dict(max_epochs=max_epochs, val_interval=10)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=1e-3, eps=1e-8, weight_decay=1e-8),
    paramwise_cfg=dict(
        norm_decay_mult=0,
        bias_decay_mult=0,
        custom_keys={'final_layer': dict(decay_mult=1), 'queries': dict(decay_mult=0)},
    ),
)
step = dict(type='MultiStepLR', milestones=[170, 200], gamma=0.1, by_epoch=True)
param_scheduler = [step]
auto_scale_lr = dict(base_batch_size=384)
ema = dict(momentum=1 - 0.9999 ** (384 / 4096))
custom_hooks = [{**_base_.ema, **ema}]
