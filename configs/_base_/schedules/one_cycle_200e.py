# The published recipe for ADE20K: 200 epochs, batch 64.
_base_ = ['./one_cycle.py', './ema.py']

max_epochs = 200
train_cfg = dict(max_epochs=max_epochs)
one_cycle = dict(total_steps=max_epochs)
param_scheduler = [{**_base_.one_cycle, **one_cycle}]
ema = dict(momentum=1 - 0.9999 ** (64 / 4096))
custom_hooks = [{**_base_.ema, **ema}]
