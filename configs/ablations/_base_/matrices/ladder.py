# The ablations of the paper's Table 1, a row each.
ratios = [0.9]
rows = [
    dict(label='S+P, magnitude', config='sp-magnitude.py'),
    dict(label='S+P, magnitude, retrained', config='sp-magnitude-retrain.py'),
    dict(label='two-in-one', config='two-in-one.py'),
    dict(label='+ PP', config='pp.py'),
    dict(label='+ PP + IR-P', config='pp-irp.py'),
    dict(label='+ PP + IR-S', config='pp-irs.py'),
    dict(label='+ PP + IR-S, retrained', config='pp-irs-retrain.py'),
]
