# The slim supernet on LSP Extended in AI Challenger's joints.
_base_ = ['./_base_/slim_16b-14e.py', '../_base_/datasets/lspet_aic14.py']

model = dict(head=dict(out_channels=14, decoder=_base_.codec))
