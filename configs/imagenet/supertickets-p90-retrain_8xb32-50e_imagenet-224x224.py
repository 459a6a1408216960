# Retrain a ticket: --cfg-options load_from=TICKET; its architecture and masks stay as they are.
_base_ = './hr-supernet_8xb32-350e_imagenet-224x224.py'

train_cfg = dict(max_epochs=50)
param_scheduler = [{**_base_.step, **dict(step_size=1716)}]  # as many, in a seventh of the time
custom_hooks = [_base_.ema, dict(type='FixedMaskHook')]
