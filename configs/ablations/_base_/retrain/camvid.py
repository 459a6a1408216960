# The training of a network that is pruned already: 15 epochs.
_base_ = '../../../camvid/hr-supernet-slim_8b-40e_camvid-192x256.py'

max_epochs = 15
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [{**_base_.param_scheduler[0], 'total_steps': max_epochs}]
