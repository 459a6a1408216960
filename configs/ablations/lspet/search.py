# Search alone, dense: what S+P prunes.
_base_ = '../../lspet/supertickets-p90-slim_16b-14e_lspet-aic14-96x96.py'

custom_hooks = [_base_.ema, _base_.search]
