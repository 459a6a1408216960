# S+P: a trained network is pruned at once, and saved as initial.pth before it trains on.
_base_ = './ratio.py'

prune = dict(type='PruneHook', schedule=dict(type='OneShot', ratio=_base_.ratio, at=0))
initial = dict(type='InitialCheckpointHook')
