# The same without retraining: initial.pth is the ticket.
_base_ = './sp-magnitude-retrain.py'

train_cfg = dict(max_epochs=0)
param_scheduler = []
