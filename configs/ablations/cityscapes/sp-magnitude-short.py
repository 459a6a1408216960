# S+P by magnitude after 50 epochs, not retrained: initial.pth is the ticket.
_base_ = './sp-magnitude.py'

load_from = 'work_dirs/ablations/cityscapes/search-short/epoch_50.pth'
