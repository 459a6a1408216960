# The slim supernet on LSP Extended in COCO's keypoints.
_base_ = ['./_base_/slim_16b-14e.py', '../_base_/datasets/lspet_coco17.py']

model = dict(head=dict(decoder=_base_.codec))
