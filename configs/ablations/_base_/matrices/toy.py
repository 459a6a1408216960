# Where the ablations on the toy data go, and the picture that their MACs are counted for.
work_dir = 'work_dirs/ablations/toy'
input_shape = (3, 128, 256)
prepare = ['tools/make_toy_data.py', 'streets', 'data/toy_streets']  # leaves data that is there
