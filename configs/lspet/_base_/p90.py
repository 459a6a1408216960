# SuperTickets at 90 %, in iterations since epochs are few.
search = dict(
    type='SearchHook',
    interval=128,
    rho=1e-6,  # as for COCO
    warmup=128,
    threshold=1e-2,  # a short run leaves the scales no time to get closer to zero
    min_macs_drop=1e5,
    input_shape=(3, 96, 96),
    by_epoch=False,
)
prune = dict(  # 90 % from iteration 864 of 1232 on
    type='ProgressivePruneHook', ratio=0.9, interval=96, end=900, by_epoch=False
)
reactivate = dict(type='ReactivateHook', on='search')
