# Masks that go on learning, and a teacher.
_base_ = './plus-soft.py'

distill = dict(
    type='DistillHook',
    teacher='configs/ablations/camvid/search.py',
    checkpoint='work_dirs/ablations/camvid/search/epoch_40.pth',
)
custom_hooks = [*_base_.custom_hooks, distill]
