# The ticket trained again from the first weights of its training (LT-Init).
_base_ = './rewind-rr.py'

model = dict(init_cfg=dict(weights=f'{_base_.run}/initial.pth'))
