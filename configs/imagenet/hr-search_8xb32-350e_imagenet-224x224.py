# Search without pruning: the architecture of the tickets, dense.
_base_ = './hr-supernet_8xb32-350e_imagenet-224x224.py'

search = dict(
    type='SearchHook',
    interval=10,
    rho=1.8e-4,
    warmup=25,
    threshold=1e-3,
    min_macs_drop=1e6,
    input_shape=(3, 224, 224),
)
custom_hooks = [_base_.ema, search]
