# Where the ablations on Tiny-ImageNet-20 go, the picture of their MACs, and the score.
work_dir = 'work_dirs/ablations/tiny_imagenet'
input_shape = (3, 64, 64)
metric = 'accuracy/top1'
