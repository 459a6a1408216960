# SuperTickets at 90 % on drawn shapes.
_base_ = './hr-supernet-slim_32b-36e_toy-shapes-48x48.py'

search = dict(
    type='SearchHook',
    interval=4,
    rho=2e-3,  # a short run needs a strong pull to get any scale to zero
    warmup=4,
    threshold=1e-2,
    min_macs_drop=1e5,
    input_shape=(3, 64, 64),
    calibration_batches=4,
)
prune = dict(
    type='ProgressivePruneHook', ratio=0.9, interval=3, end=27, calibration_batches=4
)  # 90 % from epoch 27 on
reactivate = dict(type='ReactivateHook', on='search')
custom_hooks = [_base_.ema, search, prune, reactivate]
