# A ticket of CamVid on the toy streets.
_base_ = ['../_base_/matrices/transfer.py', '../_base_/matrices/toy.py']
