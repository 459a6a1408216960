"""BN statistics after an event, and the batches for them, which leave the training alone."""

from .batch_norm import recalibrate
from .batches import calibration_batches, training_forward, training_loss
from .no_trace import no_trace
from .random_state import frozen_random_state, seed_everything

__all__ = [
    'calibration_batches',
    'frozen_random_state',
    'no_trace',
    'recalibrate',
    'seed_everything',
    'training_forward',
    'training_loss',
]
