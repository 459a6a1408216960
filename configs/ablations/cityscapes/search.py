# Search alone, dense: what S+P prunes.
_base_ = '../../cityscapes/hr-search_8xb4-430e_cityscapes-512x1024.py'
