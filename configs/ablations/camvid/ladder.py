# The ladder of the paper's Table 1, on CamVid.
_base_ = ['../_base_/matrices/ladder.py', '../_base_/matrices/camvid.py']
