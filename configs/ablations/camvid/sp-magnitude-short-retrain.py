# S+P by magnitude in 15 epochs: 8 of search, then 7 under masks.
_base_ = './sp-magnitude-retrain.py'

load_from = 'work_dirs/ablations/camvid/search-short-half/epoch_8.pth'
max_epochs = 7
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [{**_base_.param_scheduler[0], 'total_steps': max_epochs}]
