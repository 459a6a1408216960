# Search alone for the epochs that a transferred ticket is trained on.
_base_ = './search.py'

max_epochs = 15
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [{**_base_.param_scheduler[0], 'total_steps': max_epochs}]
