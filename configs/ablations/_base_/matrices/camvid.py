# Where the ablations on CamVid go, the picture of their MACs, and the score.
work_dir = 'work_dirs/ablations/camvid'
input_shape = (3, 240, 320)
metric = 'mIoU'
