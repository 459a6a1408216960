# Retrain a ticket: --cfg-options load_from=TICKET; its architecture and masks stay as they are.
_base_ = './hr-supernet_8xb8-200e_ade20k-512x512.py'

max_epochs = 50
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [{**_base_.one_cycle, **dict(total_steps=max_epochs)}]
custom_hooks = [_base_.ema, dict(type='FixedMaskHook')]
