"""Which weights live: scores, schedules and masks."""

from .masks import Masks, lowest, matches, pack, prunable_weights, unpack
from .schedule import Progressive
from .scores import SCORES, magnitude, random

__all__ = [
    'SCORES',
    'Masks',
    'Progressive',
    'lowest',
    'magnitude',
    'matches',
    'pack',
    'prunable_weights',
    'random',
    'unpack',
]
