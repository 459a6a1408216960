# IR-S, with the searched network as a teacher.
_base_ = './pp.py'

distill = dict(
    type='DistillHook',
    teacher='configs/ablations/camvid/search.py',
    checkpoint='work_dirs/ablations/camvid/search/epoch_40.pth',
)
custom_hooks = [*_base_.custom_hooks, _base_.reactivate, distill]
