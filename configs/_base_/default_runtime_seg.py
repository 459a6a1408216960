# mmseg's runtime with training in epochs, and st_mm registered.
_base_ = 'mmseg::_base_/default_runtime.py'

custom_imports = dict(imports=['st_mm'], allow_failed_imports=False)
log_processor = dict(by_epoch=True)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # no save_best: while sparsity rises the best score is that of the densest network
    checkpoint=dict(type='CheckpointHook', interval=10, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
