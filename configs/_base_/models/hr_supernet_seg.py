# The full supernet for semantic segmentation: mmseg's EncoderDecoder around our backbone and neck.
norm_cfg = dict(type='SyncBN', eps=1e-3, momentum=0.01)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 1024),
    ),
    backbone=dict(type='HRSupernet', channels_last=True, norm_cfg=norm_cfg),
    neck=dict(
        type='HRFusionNeck', in_channels=(18, 36, 72, 144), out_channels=90, norm_cfg=norm_cfg
    ),
    decode_head=dict(  # a single 1x1 convolution
        type='FCNHead',
        in_channels=90,
        channels=90,
        num_convs=0,
        concat_input=False,
        dropout_ratio=0,
        num_classes=19,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        init_cfg=dict(type='MnasNet'),
    ),
    test_cfg=dict(mode='whole'),
)
