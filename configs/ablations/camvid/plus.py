# Masks that go on learning against the paper's recipe, on CamVid.
_base_ = ['../_base_/matrices/plus.py', '../_base_/matrices/camvid.py']
