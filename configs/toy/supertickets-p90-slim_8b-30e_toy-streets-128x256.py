# SuperTickets on drawn streets: the default of `make demo`.
_base_ = './hr-supernet-slim_8b-30e_toy-streets-128x256.py'

search = dict(
    type='SearchHook',
    interval=2,
    rho=5e-4,  # a short run needs a strong pull to get any scale to zero
    warmup=3,
    threshold=1e-2,
    min_macs_drop=1e5,
    input_shape=(3, 128, 256),
    calibration_batches=4,
)
prune = dict(
    type='ProgressivePruneHook', ratio=0.9, interval=2, end=24, calibration_batches=4
)  # 90 % from epoch 18 on
reactivate = dict(type='ReactivateHook', on='search')
custom_hooks = [_base_.ema, search, prune, reactivate]
