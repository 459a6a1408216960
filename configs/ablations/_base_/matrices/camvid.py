# Where the ablations on CamVid go, and the picture that their MACs are counted for.
work_dir = 'work_dirs/ablations/camvid'
input_shape = (3, 240, 320)
