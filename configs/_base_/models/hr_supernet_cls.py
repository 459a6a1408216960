# The full supernet for classification: mmpretrain's ImageClassifier around our backbone and neck.
norm_cfg = dict(type='SyncBN', eps=1e-3, momentum=0.01)
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        num_classes=1000,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    backbone=dict(type='HRSupernet', channels_last=True, norm_cfg=norm_cfg),
    neck=dict(
        type='HRClassificationNeck',
        in_channels=(18, 36, 72, 144),
        head_channels=(36, 72, 144, 320),
        out_channels=1600,
        dropout=0.2,
        norm_cfg=norm_cfg,
    ),
    head=dict(
        type='LinearClsHead',
        in_channels=1600,
        num_classes=1000,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1),
        init_cfg=dict(type='MnasNet'),
    ),
)
