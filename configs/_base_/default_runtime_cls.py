# mmpretrain's runtime, and st_mm registered.
_base_ = 'mmpretrain::_base_/default_runtime.py'

custom_imports = dict(imports=['st_mm'], allow_failed_imports=False)
# no save_best: while sparsity rises the best score is that of the densest network
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))
val_cfg = {}
test_cfg = {}
