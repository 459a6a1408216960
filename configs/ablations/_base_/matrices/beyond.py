# The paper's recipe, and what docs/beyond.md has beside it.
ratios = [0.9, 0.95]
rows = [
    dict(label='SuperTickets', config='pp-irs.py'),
    dict(label='straight through', config='plus-soft.py'),
    dict(label='LAMP', config='plus-lamp.py'),
    dict(label='sigma', config='plus-sigma.py'),
    dict(label='teacher', config='plus-distill.py'),
    dict(label='EMA as teacher', config='plus-ema.py'),
    dict(label='straight through, EMA', config='plus-soft-ema.py'),
]
