# Where the ablations on Cityscapes go, the picture of their MACs, and the score.
work_dir = 'work_dirs/ablations/cityscapes'
input_shape = (3, 512, 1024)
metric = 'mIoU'
