# The training of a network that is pruned already: 4 epochs.
_base_ = '../../../tiny_imagenet/hr-supernet-slim_64b-13e_tiny-imagenet-48x48.py'

max_epochs = 4
train_cfg = dict(max_epochs=max_epochs)
# to a tenth over the run, as in the search
warmup = {**_base_.warmup, **dict(end=48)}
param_scheduler = [warmup, {**_base_.step, **dict(step_size=7)}]
