# mmseg's Cityscapes in epochs: 8 GPUs x 4 pictures, as the paper's batch of 32.
_base_ = 'mmseg::_base_/datasets/cityscapes.py'

train_dataloader = dict(
    batch_size=4, num_workers=4, sampler=dict(type='DefaultSampler', shuffle=True)
)
