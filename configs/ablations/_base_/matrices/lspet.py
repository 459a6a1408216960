# Where the ablations on LSP Extended go, the picture of their MACs, and the score.
work_dir = 'work_dirs/ablations/lspet'
input_shape = (3, 96, 96)
metric = 'PCK'
