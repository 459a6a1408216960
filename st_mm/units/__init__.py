"""Search units in any network: their owners, adapters for stock blocks, and loading widths."""

from . import stock
from .loading import TicketModule, check_fit, set_data, set_widths, take_widths
from .owner import ADAPTERS, UnitOwner, UnitSlice, find_owners, owner_of

__all__ = [
    'ADAPTERS',
    'TicketModule',
    'UnitOwner',
    'UnitSlice',
    'check_fit',
    'find_owners',
    'owner_of',
    'set_data',
    'set_widths',
    'stock',
    'take_widths',
]
