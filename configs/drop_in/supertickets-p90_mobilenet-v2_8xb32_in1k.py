# The ImageNet recipe of the paper, for 300 epochs: nine prunes, the last at 78 %.
_base_ = ['mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py']

custom_imports = dict(imports=['st_mm'], allow_failed_imports=False)
custom_hooks = [
    dict(type='SearchHook', interval=10, rho=1.8e-4, warmup=25, input_shape=(3, 224, 224)),
    dict(type='ProgressivePruneHook', ratio=0.9, interval=26, end=234),
    dict(type='ReactivateHook', on='search'),
]
