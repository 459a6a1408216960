# A Tiny-ImageNet ticket on LSP Extended, 14 epochs.
_base_ = '../lspet/hr-supernet-slim_16b-14e_lspet-coco17-96x96.py'

ticket = 'work_dirs/supertickets-p90-slim_64b-13e_tiny-imagenet-48x48/epoch_13.pth'
model = dict(init_cfg=dict(type='Ticket', checkpoint=ticket))
custom_hooks = [_base_.ema, dict(type='FixedMaskHook')]
