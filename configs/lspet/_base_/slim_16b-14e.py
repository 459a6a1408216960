# The slim supernet for LSP Extended; 14 epochs of 88 iterations, ten minutes on a CPU.
_base_ = [
    '../../_base_/models/hr_supernet_pose_slim.py',
    '../../_base_/schedules/step_210e.py',
]

train_cfg = dict(max_epochs=14, val_interval=2)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
# the two steps at the same shares of the training as in the recipe for COCO
param_scheduler = [{**_base_.step, **dict(milestones=[11, 13])}]
auto_scale_lr = dict(base_batch_size=16)
ema = {**_base_.ema, **dict(momentum=1 - 0.9999 ** (16 / 4096))}
custom_hooks = [ema]
default_hooks = dict(logger=dict(interval=44), checkpoint=dict(interval=2))
randomness = dict(seed=0)
