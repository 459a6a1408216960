# A ticket of Tiny-ImageNet on CamVid.
_base_ = ['../_base_/matrices/transfer.py', '../_base_/matrices/camvid.py']
