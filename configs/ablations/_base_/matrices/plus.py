# The paper's recipe, and the one that was better than it: docs/beyond.md.
ratios = [0.9, 0.95]
rows = [
    dict(label='SuperTickets', config='pp-irs.py'),
    dict(label='straight through', config='plus-soft.py'),
]
