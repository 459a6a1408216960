# SuperTickets (pp-irs.py) in the epochs that a transferred ticket is trained on.
_base_ = './pp.py'

max_epochs = 15
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [{**_base_.param_scheduler[0], 'total_steps': max_epochs}]
# in iterations, so that prunes and search steps do not fall together: what a search step frees
# has to learn before the next prune
search = dict(interval=92, warmup=92, by_epoch=False)
prune = dict(interval=52, end=569, by_epoch=False)
custom_hooks = [
    _base_.ema,
    {**_base_.search, **search},
    {**_base_.prune, **prune},
    _base_.reactivate,
]
