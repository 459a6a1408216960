# IR-S, with the searched network as a teacher.
_base_ = './pp.py'

distill = dict(
    type='DistillHook',
    teacher='configs/ablations/lspet/search.py',
    checkpoint='work_dirs/ablations/lspet/search/epoch_14.pth',
)
custom_hooks = [*_base_.custom_hooks, _base_.reactivate, distill]
