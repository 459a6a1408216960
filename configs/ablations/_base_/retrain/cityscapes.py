# The training of a network that is pruned already: 50 epochs.
_base_ = '../../../cityscapes/hr-supernet_8xb4-430e_cityscapes-512x1024.py'

max_epochs = 50
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [{**_base_.param_scheduler[0], 'total_steps': max_epochs}]
