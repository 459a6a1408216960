# The training of a network that is pruned already: 10 epochs.
_base_ = '../../../toy/hr-supernet-slim_8b-30e_toy-streets-128x256.py'

max_epochs = 10
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [{**_base_.param_scheduler[0], 'total_steps': max_epochs}]
