# Masks that go on learning against the paper's recipe, on CamVid, in 15 epochs.
_base_ = ['../_base_/matrices/plus.py', '../_base_/matrices/camvid.py']

rows = [
    dict(label='SuperTickets', config='pp-irs-short-iters.py'),
    dict(label='straight through', config='plus-soft-short.py'),
]
