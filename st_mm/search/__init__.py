"""Which units live: their importance, the penalty on it, and their removal."""

import warnings
from typing import Any

import st_mm.calibration
from st_mm.units import find_owners

from .budget import ON_THE_LINE, REACHED, STRONGEST, Budget, Course, way_left
from .costs import (
    COSTS,
    Cost,
    Macs,
    Params,
    build_cost,
    check_cost,
    relative_costs,
)
from .importance import (
    count_units,
    dead_units,
    importance,
    input_sizes,
    saved_macs,
    unit_costs,
    units_macs,
)
from .latency_table import Curve, LatencyTable
from .penalty import Limit, PenaltyGradient, penalty, ramp
from .reap import settle, settled_units
from .savings import Savings
from .shrink import Cut, shrink

__all__ = [
    'COSTS',
    'ON_THE_LINE',
    'REACHED',
    'STRONGEST',
    'Budget',
    'Cost',
    'Course',
    'Curve',
    'Cut',
    'LatencyTable',
    'Limit',
    'Macs',
    'Params',
    'PenaltyGradient',
    'Savings',
    'build_cost',
    'check_cost',
    'count_units',
    'dead_units',
    'find_owners',
    'importance',
    'input_sizes',
    'penalty',
    'ramp',
    'relative_costs',
    'saved_macs',
    'settle',
    'settled_units',
    'shrink',
    'unit_costs',
    'units_macs',
    'way_left',
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
