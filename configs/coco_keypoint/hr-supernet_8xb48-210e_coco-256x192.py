# The supernet alone, neither searched nor pruned.
_base_ = [
    '../_base_/models/hr_supernet_pose.py',
    '../_base_/datasets/coco_keypoint.py',
    '../_base_/schedules/step_210e.py',
]
