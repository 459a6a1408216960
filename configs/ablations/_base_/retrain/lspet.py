# The training of a network that is pruned already: 4 epochs.
_base_ = '../../../lspet/hr-supernet-slim_16b-14e_lspet-aic14-96x96.py'

max_epochs = 4
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [{**_base_.step, **dict(milestones=[3])}]
