"""Transfer: what a model of another task or data set takes from a ticket (paper Section 3.3).

The record of a ticket is restricted to what the model shares with it. Features carry over, a neck
of the same kind and width does, and the head is the target's own.
"""

from .carried import Carried, carried
from .loading import take_over
from .matching import match
from .shared import Latent, Part, Transfer
from .table import HEADER, report, rows

__all__ = [
    'HEADER',
    'Carried',
    'Latent',
    'Part',
    'Transfer',
    'carried',
    'match',
    'report',
    'rows',
    'take_over',
]
