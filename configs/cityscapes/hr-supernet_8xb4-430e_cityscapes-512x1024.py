# The supernet alone, neither searched nor pruned.
_base_ = [
    '../_base_/models/hr_supernet_seg.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/default_runtime_seg.py',
    '../_base_/schedules/one_cycle_430e.py',
]
