# S+P by magnitude in 50 epochs: 25 of search, then 25 under masks.
_base_ = './sp-magnitude-retrain.py'

load_from = 'work_dirs/ablations/cityscapes/search-short-half/epoch_25.pth'
max_epochs = 25
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [{**_base_.param_scheduler[0], 'total_steps': max_epochs}]
