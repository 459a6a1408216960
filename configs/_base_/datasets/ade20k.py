# mmseg's ADE20K in epochs: 8 GPUs x 8 pictures, as the paper's batch of 64.
_base_ = 'mmseg::_base_/datasets/ade20k.py'

train_dataloader = dict(
    batch_size=8, num_workers=4, sampler=dict(type='DefaultSampler', shuffle=True)
)
