# SuperTickets at 90 % on drawn people.
_base_ = './hr-supernet-slim_16b-18e_toy-people-96x64.py'

search = dict(  # in iterations, since epochs are few
    type='SearchHook',
    interval=80,
    rho=2e-6,  # a short run needs a stronger pull than COCO's 1e-6
    warmup=80,
    threshold=1e-2,
    min_macs_drop=1e5,
    input_shape=(3, 96, 64),
    calibration_batches=4,
    by_epoch=False,
)
prune = dict(  # 90 % from iteration 540 of 720 on
    type='ProgressivePruneHook',
    ratio=0.9,
    interval=60,
    end=560,
    calibration_batches=4,
    by_epoch=False,
)
reactivate = dict(type='ReactivateHook', on='search')
custom_hooks = [_base_.ema, search, prune, reactivate]
