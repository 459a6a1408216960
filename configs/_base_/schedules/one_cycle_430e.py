# The published recipe for Cityscapes: 430 epochs, batch 32, one-cycle to 0.04 from 0.04 / 25.
max_epochs = 430
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=10)
optim_wrapper = dict(
    type='OptimWrapper',
    # "AdamW with an L2 term of 1e-5 in the loss" is Adam with coupled decay
    optimizer=dict(type='Adam', lr=0.04 / 25, eps=1e-3, weight_decay=1e-5),
    paramwise_cfg=dict(
        norm_decay_mult=0,
        bias_decay_mult=0,
        custom_keys={'conv_seg': dict(decay_mult=1), 'queries': dict(decay_mult=0)},
    ),
)
one_cycle = dict(
    type='OneCycleLR',
    eta_max=0.04,
    div_factor=25,
    total_steps=max_epochs,
    by_epoch=True,
    convert_to_iter_based=True,
)
param_scheduler = [one_cycle]
# decay 0.9999^(32 / 4096), no more than (1 + n) / (10 + n) after n updates; BN statistics as well
ema = dict(
    type='EMAHook',
    ema_type='MomentumAnnealingEMA',
    momentum=1 - 0.9999 ** (32 / 4096),
    gamma=9,
    update_buffers=True,
)
custom_hooks = [ema]
