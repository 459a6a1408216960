# 20 classes of Tiny-ImageNet in ImageNet's folders, 64x64: train 10,000, val 1,000 pictures.
data_root = 'data/tiny_imagenet/'
classes = (
    'boa constrictor', 'scorpion', 'koala', 'American lobster', 'cougar', 'fly', 'altar',
    'bikini', 'bucket', 'dining table', 'go-kart', 'oboe', 'pill bottle', 'scoreboard',
    'spider web', 'steel arch bridge', 'viaduct', 'plate', 'ice lolly', 'mashed potato',
)  # fmt: skip
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=48, crop_ratio_range=(0.35, 1.0)),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
dataset = dict(type='ImageNet', data_root=data_root, metainfo=dict(classes=classes))
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split='val', pipeline=test_pipeline),
)
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_dataloader = val_dataloader  # the labels of the test split are not public
test_evaluator = val_evaluator
