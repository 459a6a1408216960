# What the published recipes for segmentation share: one-cycle to 0.04 from 0.04 / 25.
train_cfg = dict(type='EpochBasedTrainLoop', val_interval=10)
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
    type='OneCycleLR', eta_max=0.04, div_factor=25, by_epoch=True, convert_to_iter_based=True
)
