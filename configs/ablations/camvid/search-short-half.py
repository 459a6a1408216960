# Search alone for 8 epochs; sp-magnitude-short-retrain.py has the other 7.
_base_ = './search-short.py'

max_epochs = 8
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [{**_base_.param_scheduler[0], 'total_steps': max_epochs}]
