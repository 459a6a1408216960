"""How weights move: the optimizer and the moving average of the published recipes."""

from .ema import RampedEMA
from .rmsprop import RMSpropEpsInRoot

__all__ = ['RMSpropEpsInRoot', 'RampedEMA']
