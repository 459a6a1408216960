# Retrain a ticket: --cfg-options load_from=TICKET; its architecture and masks stay as they are.
_base_ = './hr-supernet_8xb4-430e_cityscapes-512x1024.py'

max_epochs = 50
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(
        type='OneCycleLR',
        eta_max=0.04,
        div_factor=25,
        total_steps=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
custom_hooks = [_base_.ema, dict(type='FixedMaskHook')]
