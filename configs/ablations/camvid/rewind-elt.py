# The ticket trained again from the weights of epoch 8 (ELT-Init).
_base_ = './rewind-rr.py'

model = dict(init_cfg=dict(weights=f'{_base_.run}/epoch_8.pth'))
