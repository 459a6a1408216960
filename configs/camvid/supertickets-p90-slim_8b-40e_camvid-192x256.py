# SuperTickets at 90 % on CamVid with the slim supernet.
_base_ = './hr-supernet-slim_8b-40e_camvid-192x256.py'

search = dict(
    type='SearchHook',
    interval=4,
    rho=1e-3,  # a short run needs a strong pull to get any scale to zero
    warmup=4,
    threshold=1e-2,
    min_macs_drop=1e5,
    input_shape=(3, 240, 320),
)
prune = dict(type='ProgressivePruneHook', ratio=0.9, interval=3, end=33)  # 90 % from epoch 27 on
reactivate = dict(type='ReactivateHook', on='search')
custom_hooks = [_base_.ema, search, prune, reactivate]
