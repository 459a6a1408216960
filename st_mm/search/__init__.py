"""Which units live: search units, their penalty, and their removal."""

from st_mm.models.units import find_owners

from .calibration import recalibrate
from .calibration_data import calibration_batches, training_loss
from .penalty import PenaltyGradient, penalty, ramp
from .shrink import Cut, shrink
from .units import (
    count_units,
    dead_units,
    importance,
    input_sizes,
    saved_macs,
    unit_costs,
    units_macs,
)

__all__ = [
    'Cut',
    'PenaltyGradient',
    'calibration_batches',
    'count_units',
    'dead_units',
    'find_owners',
    'importance',
    'input_sizes',
    'penalty',
    'ramp',
    'recalibrate',
    'saved_macs',
    'shrink',
    'training_loss',
    'unit_costs',
    'units_macs',
]
