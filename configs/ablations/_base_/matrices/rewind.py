# A ticket with masks at random places, or trained again from other weights (Tables 7 and 9).
ratios = [0.9]
rows = [
    dict(label='S+P, random', config='sp-random.py'),
    dict(label='SuperTickets, RP', config='rewind-rp.py'),
    dict(label='SuperTickets, RR-Init', config='rewind-rr.py'),
    dict(label='SuperTickets, LT-Init', config='rewind-lt.py'),
    dict(label='SuperTickets, ELT-Init', config='rewind-elt.py'),
    dict(label='SuperTickets, LLT-Init', config='pp-irs-retrain.py'),
    dict(label='SuperTickets', config='pp-irs.py'),
]
