# Where the ablations on the toy data go, the picture of their MACs, and the score.
work_dir = 'work_dirs/ablations/toy'
input_shape = (3, 128, 256)
metric = 'mIoU'
prepare = ['tools/make_toy_data.py', 'streets', 'data/toy_streets']  # leaves data that is there
