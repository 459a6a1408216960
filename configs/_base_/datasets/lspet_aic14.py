# The pictures of lspet_coco17.py with the 14 joints of AI Challenger, which are those of LSP.
_base_ = './lspet_coco17.py'

dataset_type = 'AicDataset'
val_annotations = 'annotations/lspet_val_aic14.json'
train_dataloader = dict(
    dataset=dict(type='AicDataset', ann_file='annotations/lspet_train_aic14.json')
)
val_dataloader = dict(dataset=dict(type='AicDataset', ann_file=val_annotations))
test_dataloader = val_dataloader
val_evaluator = [
    _base_.val_evaluator[0],
    dict(type='CocoMetric', ann_file=_base_.data_root + val_annotations),
]
test_evaluator = val_evaluator
