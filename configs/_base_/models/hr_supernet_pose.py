# The full supernet for poses: mmpose's top-down estimator, heatmaps straight from the neck.
norm_cfg = dict(type='SyncBN', eps=1e-5, momentum=0.1)
init_cfg = dict(type='Normal', layer='Conv2d', std=1e-3)
model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=dict(
        type='PoseDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(type='HRSupernet', channels_last=True, norm_cfg=norm_cfg, init_cfg=init_cfg),
    neck=dict(
        type='HRFusionNeck',
        in_channels=(18, 36, 72, 144),
        out_channels=90,
        norm_cfg=norm_cfg,
        init_cfg=init_cfg,
    ),
    head=dict(  # a single 1x1 convolution
        type='HeatmapHead',
        in_channels=90,
        out_channels=17,
        deconv_out_channels=None,
        loss=dict(type='KeypointMSELoss', use_target_weight=True),
        decoder=dict(type='MSRAHeatmap', input_size=(192, 256), heatmap_size=(48, 64), sigma=2),
    ),
    test_cfg=dict(flip_test=True, flip_mode='heatmap', shift_heatmap=True),
)
