# S+P by SynFlow, in the published 100 rounds, retrained.
_base_ = './sp-magnitude-retrain.py'

custom_hooks = [
    _base_.ema,
    {**_base_.prune, 'score': dict(type='synflow', rounds=100)},
    _base_.initial,
]
