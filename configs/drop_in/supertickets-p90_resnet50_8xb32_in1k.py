# The ImageNet recipe of the paper, in the proportions of 100 epochs: nine prunes, the last at 81 %.
# Searched are the channels between the 3x3 and the last convolution of each bottleneck.
_base_ = ['mmpretrain::resnet/resnet50_8xb32_in1k.py']

custom_imports = dict(imports=['st_mm'], allow_failed_imports=False)
custom_hooks = [
    dict(type='SearchHook', interval=4, rho=1.8e-4, warmup=7, input_shape=(3, 224, 224)),
    dict(type='ProgressivePruneHook', ratio=0.9, interval=9, end=81),
    dict(type='ReactivateHook', on='search'),
]
