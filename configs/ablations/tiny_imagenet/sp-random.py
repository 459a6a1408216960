# The same without retraining: initial.pth is the ticket.
_base_ = './sp-random-retrain.py'

train_cfg = dict(max_epochs=0)
param_scheduler = []
