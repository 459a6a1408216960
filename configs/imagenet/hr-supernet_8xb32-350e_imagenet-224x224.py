# The supernet alone, neither searched nor pruned.
_base_ = [
    '../_base_/models/hr_supernet_cls.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/default_runtime_cls.py',
    '../_base_/schedules/rmsprop_350e.py',
]
