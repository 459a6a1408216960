# mmpretrain's ImageNet, resized as published: 8 GPUs x 32 pictures, as the paper's batch of 256.
_base_ = 'mmpretrain::_base_/datasets/imagenet_bs32_pil_bicubic.py'
