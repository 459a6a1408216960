# LSP Extended, 1,400 single people to train on and 350 to validate, as COCO's 17 keypoints: LSP has
# 12 of them, the five of the face have v = 0.
dataset_type = 'CocoDataset'  # this and data_mode are for mmpose's inferencers
data_mode = 'topdown'
data_root = 'data/lspet/'
codec = dict(type='MSRAHeatmap', input_size=(96, 96), heatmap_size=(24, 24), sigma=1.5)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomBBoxTransform'),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file='annotations/lspet_train_coco17.json',
        data_prefix=dict(img='images/train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file='annotations/lspet_val_coco17.json',
        data_prefix=dict(img='images/val/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
# PCK by the box: mmpose's torso is that of JHMDB's joints, and LSP has no head size
val_evaluator = [
    dict(type='PCKAccuracy', thr=0.1, norm_item='bbox'),
    dict(type='CocoMetric', ann_file=data_root + 'annotations/lspet_val_coco17.json'),
]
test_evaluator = val_evaluator
