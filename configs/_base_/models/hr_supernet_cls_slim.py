# A slim supernet that trains on a CPU: three stages, one block per branch, half the expansion.
_base_ = './hr_supernet_cls.py'

norm_cfg = dict(type='BN', eps=1e-3, momentum=0.1)  # few iterations: a short memory
slim_cfg = dict(kernel_sizes=(3, 5, 7), expand_ratio=2, norm_cfg=norm_cfg)
model = dict(
    backbone=dict(
        stem_channels=(12, 16),
        stage_channels=((16,), (12, 24), (12, 24, 48)),
        stage_blocks=((1,), (1, 1), (1, 1, 2)),
        **slim_cfg,
    ),
    neck=dict(in_channels=(12, 24, 48), head_channels=(24, 48, 96), out_channels=256, **slim_cfg),
    head=dict(in_channels=256),
)
