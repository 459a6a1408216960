# Pruned alone: BasicBlocks have no search units, whose removal would free weights. The last of nine
# prunes is at 79 % of 160,000 iterations.
_base_ = ['mmseg::bisenetv1/bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024.py']

custom_imports = dict(imports=['st_mm'], allow_failed_imports=False)
custom_hooks = [
    dict(type='ProgressivePruneHook', ratio=0.9, interval=14000, end=126000, by_epoch=False),
]
