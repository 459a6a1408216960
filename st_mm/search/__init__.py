"""Which units live: their importance, the penalty on it, and their removal."""

import warnings
from typing import Any

import st_mm.calibration
from st_mm.units import find_owners

from .budget import REACHED, Budget, Course
from .importance import (
    count_units,
    dead_units,
    importance,
    input_sizes,
    saved_macs,
    unit_costs,
    units_macs,
)
from .penalty import PenaltyGradient, penalty, ramp
from .reap import settle, settled_units
from .savings import Savings
from .shrink import Cut, shrink

__all__ = [
    'REACHED',
    'Budget',
    'Course',
    'Cut',
    'PenaltyGradient',
    'Savings',
    'count_units',
    'dead_units',
    'find_owners',
    'importance',
    'input_sizes',
    'penalty',
    'ramp',
    'saved_macs',
    'settle',
    'settled_units',
    'shrink',
    'unit_costs',
    'units_macs',
]

_MOVED = {
    'calibration_batches': st_mm.calibration,
    'recalibrate': st_mm.calibration,
    'training_loss': st_mm.calibration,
}


def __getattr__(name: str) -> Any:
    """Give what has moved to another room under its former name, for one release."""
    if name not in _MOVED:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    room = _MOVED[name]
    warnings.warn(
        f'st_mm.search.{name} is now {room.__name__}.{name}; the old name goes with the next '
        'release',
        FutureWarning,
        stacklevel=2,
    )
    return getattr(room, name)
