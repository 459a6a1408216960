# S+P and SuperTickets over the ratio, on CamVid.
_base_ = ['../_base_/matrices/sweep.py', '../_base_/matrices/camvid.py']
