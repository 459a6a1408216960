# mmpose's runtime, and st_mm registered.
_base_ = 'mmpose::_base_/default_runtime.py'

custom_imports = dict(imports=['st_mm'], allow_failed_imports=False)
# no save_best: while sparsity rises the best score is that of the densest network
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
