# S+P by magnitude after 10 epochs, not retrained: initial.pth is the ticket.
_base_ = './sp-magnitude.py'

load_from = 'work_dirs/ablations/toy/search-short/epoch_10.pth'
