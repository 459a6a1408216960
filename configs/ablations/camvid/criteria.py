# S+P by every criterion, on CamVid.
_base_ = ['../_base_/matrices/criteria.py', '../_base_/matrices/camvid.py']
