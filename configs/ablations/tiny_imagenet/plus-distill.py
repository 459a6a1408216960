# IR-S, with the searched network as a teacher.
_base_ = './pp.py'

distill = dict(
    type='DistillHook',
    teacher='configs/ablations/tiny_imagenet/search.py',
    checkpoint='work_dirs/ablations/tiny_imagenet/search/epoch_13.pth',
)
custom_hooks = [*_base_.custom_hooks, _base_.reactivate, distill]
