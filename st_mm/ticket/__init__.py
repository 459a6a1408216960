"""The ticket: what the search kept and the pruning masked, in a file and out of it."""

from .reading import load_checkpoint, plain_state
from .record import KEY, LATENT, RECORD, Ticket, Units, library_versions

__all__ = [
    'KEY',
    'LATENT',
    'RECORD',
    'Ticket',
    'Units',
    'library_versions',
    'load_checkpoint',
    'plain_state',
]
