# S+P by SNIP, retrained.
_base_ = './sp-magnitude-retrain.py'

custom_hooks = [_base_.ema, {**_base_.prune, 'score': 'snip'}, _base_.initial]
