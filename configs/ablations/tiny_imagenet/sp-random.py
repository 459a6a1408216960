# S+P at random (RP). The numbers are drawn from the seed 0, or what the environment says.
_base_ = './sp-magnitude.py'

score = dict(type='random', seed={{'$ST_MM_SEED:0'}})
custom_hooks = [_base_.ema, {**_base_.prune, 'score': score}, _base_.initial]
