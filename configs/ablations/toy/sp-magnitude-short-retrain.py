# S+P by magnitude in 10 epochs: 5 of search, then 5 under masks.
_base_ = './sp-magnitude-retrain.py'

load_from = 'work_dirs/ablations/toy/search-short-half/epoch_5.pth'
max_epochs = 5
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [{**_base_.param_scheduler[0], 'total_steps': max_epochs}]
