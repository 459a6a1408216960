# S+P by magnitude after 15 epochs, not retrained: initial.pth is the ticket.
_base_ = './sp-magnitude.py'

load_from = 'work_dirs/ablations/camvid/search-short/epoch_15.pth'
