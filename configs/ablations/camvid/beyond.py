# What the paper's recipe does not have, against it, on CamVid.
_base_ = ['../_base_/matrices/beyond.py', '../_base_/matrices/camvid.py']
