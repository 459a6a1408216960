"""How weights move: the optimizer and moving averages, of the published recipes and after loads."""

from .averages import let_averages_follow_loads
from .ema import RampedEMA
from .forgetting import last_zero, still_there
from .rmsprop import RMSpropEpsInRoot
from .steps import proportional, way_of_gradient

__all__ = [
    'RMSpropEpsInRoot',
    'RampedEMA',
    'last_zero',
    'let_averages_follow_loads',
    'proportional',
    'still_there',
    'way_of_gradient',
]
