"""Which units live: their importance, the penalty on it, and their removal."""

from st_mm.units import find_owners

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
from .shrink import Cut, shrink

__all__ = [
    'Cut',
    'PenaltyGradient',
    'count_units',
    'dead_units',
    'find_owners',
    'importance',
    'input_sizes',
    'penalty',
    'ramp',
    'saved_macs',
    'shrink',
    'unit_costs',
    'units_macs',
]
