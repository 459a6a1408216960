# Search without pruning: the architecture of the tickets, dense.
_base_ = './hr-supernet_8xb48-210e_coco-256x192.py'

search = dict(
    type='SearchHook',
    interval=10,
    rho=1e-6,
    warmup=25,
    threshold=1e-3,
    min_macs_drop=1e6,
    input_shape=(3, 256, 192),
)
custom_hooks = [_base_.ema, search]
