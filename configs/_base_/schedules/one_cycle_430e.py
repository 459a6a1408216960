# The published recipe for Cityscapes: 430 epochs, batch 32.
_base_ = ['./one_cycle.py', './ema.py']

max_epochs = 430
train_cfg = dict(max_epochs=max_epochs)
one_cycle = dict(total_steps=max_epochs)
param_scheduler = [{**_base_.one_cycle, **one_cycle}]
ema = dict(momentum=1 - 0.9999 ** (32 / 4096))
custom_hooks = [{**_base_.ema, **ema}]
