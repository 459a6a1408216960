# Search without pruning: the architecture of the tickets, dense.
_base_ = './hr-supernet_8xb8-200e_ade20k-512x512.py'

search = dict(
    type='SearchHook',
    interval=10,
    rho=1.4e-4,
    warmup=25,
    threshold=1e-3,
    min_macs_drop=1e6,
    input_shape=(3, 512, 512),
)
custom_hooks = [_base_.ema, search]
