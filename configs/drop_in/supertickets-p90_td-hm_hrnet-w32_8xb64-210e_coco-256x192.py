# The COCO recipe of the paper, but for the prunes: the last of nine is at epoch 162 of 210, before
# the learning rate falls at 170. Searched are the bottlenecks of the first stage; all is pruned.
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py'
]

custom_imports = dict(imports=['st_mm'], allow_failed_imports=False)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='SearchHook', interval=10, rho=1e-6, warmup=25, input_shape=(3, 256, 192)),
    dict(type='ProgressivePruneHook', ratio=0.9, interval=18, end=162),
    dict(type='ReactivateHook', on='search'),
]
