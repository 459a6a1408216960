# SuperTickets at 90 % on Tiny-ImageNet with the slim supernet.
_base_ = './hr-supernet-slim_64b-13e_tiny-imagenet-48x48.py'

search = dict(
    type='SearchHook',
    interval=3,
    rho=2e-3,  # a short run needs a strong pull to get any scale to zero
    warmup=3,
    threshold=1e-2,
    min_macs_drop=1e5,
    input_shape=(3, 64, 64),
)
prune = dict(
    type='ProgressivePruneHook', ratio=0.9, step=0.2, interval=2, end=10
)  # 90 % from epoch 10 on
reactivate = dict(type='ReactivateHook', on='search')
custom_hooks = [_base_.ema, search, prune, reactivate]
