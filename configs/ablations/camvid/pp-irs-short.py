# SuperTickets: masked weights are set free after each search step (IR-S).
_base_ = './pp-short.py'

custom_hooks = [*_base_.custom_hooks, _base_.reactivate]
