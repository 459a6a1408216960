# SuperTickets (pp-irs.py) in the epochs that a transferred ticket is trained on.
_base_ = './pp.py'

max_epochs = 15
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [{**_base_.param_scheduler[0], 'total_steps': max_epochs}]
search = dict(interval=2, warmup=2)
prune = dict(interval=1, end=12)  # the ratio from epoch 9 or 10 on
custom_hooks = [
    _base_.ema,
    {**_base_.search, **search},
    {**_base_.prune, **prune},
    _base_.reactivate,
]
