# Masks that go on learning, and a teacher.
_base_ = './plus-soft.py'

distill = dict(
    type='DistillHook',
    teacher='configs/ablations/lspet/search.py',
    checkpoint='work_dirs/ablations/lspet/search/epoch_14.pth',
)
custom_hooks = [*_base_.custom_hooks, distill]
