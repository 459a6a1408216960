# SuperTickets at 90 % on LSP Extended in COCO's keypoints.
_base_ = ['./hr-supernet-slim_16b-14e_lspet-coco17-96x96.py', './_base_/p90.py']

custom_hooks = [_base_.ema, _base_.search, _base_.prune, _base_.reactivate]
