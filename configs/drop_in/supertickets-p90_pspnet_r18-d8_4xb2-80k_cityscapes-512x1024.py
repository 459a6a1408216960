# Pruned alone: BasicBlocks have no search units, whose removal would free weights. The last of nine
# prunes is at 79 % of 80,000 iterations.
_base_ = ['mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py']

custom_imports = dict(imports=['st_mm'], allow_failed_imports=False)
custom_hooks = [
    dict(type='ProgressivePruneHook', ratio=0.9, interval=7000, end=63000, by_epoch=False),
]
