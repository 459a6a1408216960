# S+P at random, retrained.
_base_ = './sp-magnitude-retrain.py'

custom_hooks = [_base_.ema, {**_base_.prune, 'score': 'random'}, _base_.initial]
