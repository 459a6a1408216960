# Where the ablations on Cityscapes go, and the picture that their MACs are counted for.
work_dir = 'work_dirs/ablations/cityscapes'
input_shape = (3, 512, 1024)
