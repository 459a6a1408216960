# Of 160,000 iterations: rho rises over the first 6 %, and the last of nine prunes is at 79 %, so
# that the ticket trains on at its final sparsity.
_base_ = ['mmseg::fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py']

custom_imports = dict(imports=['st_mm'], allow_failed_imports=False)
custom_hooks = [
    dict(type='SearchHook', interval=6000, rho=1.4e-4, warmup=10000, by_epoch=False),
    dict(type='ProgressivePruneHook', ratio=0.9, interval=14000, end=126000, by_epoch=False),
    dict(type='ReactivateHook', on='search'),
]
