# First search, then prune (S+P): every criterion, without and with retraining; beside two-in-one.
ratios = [0.9]
rows = [
    dict(label='two-in-one', config='two-in-one.py'),
    dict(label='S+P, random', config='sp-random.py'),
    dict(label='S+P, magnitude', config='sp-magnitude.py'),
    dict(label='S+P, SNIP', config='sp-snip.py'),
    dict(label='S+P, GraSP', config='sp-grasp.py'),
    dict(label='S+P, SynFlow', config='sp-synflow.py'),
    dict(label='S+P, random, retrained', config='sp-random-retrain.py'),
    dict(label='S+P, magnitude, retrained', config='sp-magnitude-retrain.py'),
    dict(label='S+P, SNIP, retrained', config='sp-snip-retrain.py'),
    dict(label='S+P, GraSP, retrained', config='sp-grasp-retrain.py'),
    dict(label='S+P, SynFlow, retrained', config='sp-synflow-retrain.py'),
]
