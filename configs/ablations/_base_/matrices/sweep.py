# What a ratio costs: S+P and SuperTickets from nearly dense to nearly empty.
ratios = [0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98]
rows = [
    dict(label='S+P, magnitude', config='sp-magnitude.py'),
    dict(label='S+P, magnitude, retrained', config='sp-magnitude-retrain.py'),
    dict(label='SuperTickets', config='pp-irs.py'),
    dict(label='SuperTickets, retrained', config='pp-irs-retrain.py'),
]
