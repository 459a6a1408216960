# SuperTickets: masked weights are set free after each search step (IR-S).
_base_ = './pp.py'

default_hooks = dict(checkpoint=dict(max_keep_ckpts=-1))  # early weights, for ELT-Init
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ReactivateHook', on='search'),
    dict(type='InitialCheckpointHook'),  # the first weights, for LT-Init
]
