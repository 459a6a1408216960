# Retrain a ticket: --cfg-options load_from=TICKET; its architecture and masks stay as they are.
_base_ = './hr-supernet_8xb48-210e_coco-256x192.py'

train_cfg = dict(max_epochs=50)
param_scheduler = [{**_base_.step, **dict(milestones=[40, 48])}]  # at the same shares of training
custom_hooks = [_base_.ema, dict(type='FixedMaskHook')]
