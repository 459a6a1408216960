"""The ticket: what the search has kept and the pruning has masked, and its file."""

from .reading import load_checkpoint, plain_state
from .record import KEY, LATENT, RECORD, THRESHOLDS, Ticket, Units, library_versions

__all__ = [
    'KEY',
    'LATENT',
    'RECORD',
    'THRESHOLDS',
    'Ticket',
    'Units',
    'library_versions',
    'load_checkpoint',
    'plain_state',
]
