# The ticket with other masks or other weights, on CamVid.
_base_ = ['../_base_/matrices/rewind.py', '../_base_/matrices/camvid.py']
