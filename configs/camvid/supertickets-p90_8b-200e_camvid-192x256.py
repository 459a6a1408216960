# SuperTickets at 90 % on CamVid with the full supernet, for a GPU.
_base_ = './hr-supernet_8b-200e_camvid-192x256.py'

search = dict(
    type='SearchHook',
    interval=10,
    rho=1.4e-4,
    warmup=25,
    threshold=1e-3,
    min_macs_drop=1e6,
    input_shape=(3, 240, 320),
)
prune = dict(type='ProgressivePruneHook', ratio=0.9, interval=15, end=165)
reactivate = dict(type='ReactivateHook', on='search')
custom_hooks = [_base_.ema, search, prune, reactivate]
