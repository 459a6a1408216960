# Search alone for 25 epochs; sp-magnitude-short-retrain.py has the other 25.
_base_ = './search-short.py'

max_epochs = 25
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [{**_base_.param_scheduler[0], 'total_steps': max_epochs}]
