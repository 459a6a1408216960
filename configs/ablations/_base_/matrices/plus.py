# The paper's recipe, and masks that go on learning: docs/beyond.md.
ratios = [0.9, 0.95]
rows = [
    dict(label='SuperTickets', config='pp-irs.py'),
    dict(label='straight through', config='plus-soft.py'),
]
