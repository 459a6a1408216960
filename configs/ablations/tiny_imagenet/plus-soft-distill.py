# Masks that go on learning, and a teacher.
_base_ = './plus-soft.py'

distill = dict(
    type='DistillHook',
    teacher='configs/ablations/tiny_imagenet/search.py',
    checkpoint='work_dirs/ablations/tiny_imagenet/search/epoch_13.pth',
)
custom_hooks = [*_base_.custom_hooks, distill]
