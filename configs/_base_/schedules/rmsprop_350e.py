# The published recipe for ImageNet: 350 epochs, batch 256, RMSprop at 0.016, times 0.97 each 2.4
# epochs.
_base_ = './ema.py'

max_epochs = 350
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=10)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='RMSpropEpsInRoot', lr=0.016, alpha=0.9, eps=1e-3, momentum=0.9, weight_decay=1e-5
    ),
    paramwise_cfg=dict(
        norm_decay_mult=0,
        bias_decay_mult=0,
        custom_keys={'head.fc': dict(decay_mult=1), 'queries': dict(decay_mult=0)},
    ),
)
# in iterations, 5005 an epoch, since mmengine cannot step at a fraction of an epoch
step = dict(type='StepLR', step_size=12012, gamma=0.97, by_epoch=False)
param_scheduler = [step]
auto_scale_lr = dict(base_batch_size=256)
ema = dict(momentum=1 - 0.9999 ** (256 / 4096))
custom_hooks = [{**_base_.ema, **ema}]
