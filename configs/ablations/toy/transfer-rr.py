# The same with weights that start anew (RR-Init).
_base_ = './transfer-ticket.py'

model = dict(init_cfg=dict(weights='random'))
