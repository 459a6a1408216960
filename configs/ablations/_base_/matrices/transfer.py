# What a ticket of another data set is worth (Table 8, Fig. 8), beside S+P on the target (Table 2).
# Every row trains for the same number of epochs on the target.
ratios = [0.8, 0.9, 0.95, 0.98]
rows = [
    dict(label='transferred ticket', config='transfer-ticket.py'),
    dict(label='transferred, RP', config='transfer-rp.py'),
    dict(label='transferred, RR-Init', config='transfer-rr.py'),
    dict(label='S+P, magnitude', config='sp-magnitude-short.py'),
    dict(label='S+P, magnitude, retrained', config='sp-magnitude-short-retrain.py'),
]
