# The supernet alone, neither searched nor pruned.
_base_ = [
    '../_base_/models/hr_supernet_seg.py',
    '../_base_/datasets/ade20k.py',
    '../_base_/default_runtime_seg.py',
    '../_base_/schedules/one_cycle_200e.py',
]

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    neck=dict(out_channels=180),
    decode_head=dict(in_channels=180, channels=180, num_classes=150),
)
