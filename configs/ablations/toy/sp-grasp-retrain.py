# S+P by GraSP, retrained.
_base_ = './sp-magnitude-retrain.py'

custom_hooks = [_base_.ema, {**_base_.prune, 'score': 'grasp'}, _base_.initial]
