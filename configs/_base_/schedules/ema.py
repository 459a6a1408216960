# The published average of weights, and of BN statistics as well: decay 0.9999^(batch / 4096), which
# each recipe sets, but no more than (1 + n) / (10 + n) at the n-th update.
ema = dict(type='EMAHook', ema_type='RampedEMA', update_buffers=True)
