"""The table of a transfer: what becomes of each part, in weights."""

from collections.abc import Iterable, Mapping, Sequence
from math import prod

from st_mm.ticket import Ticket
from st_mm.units.loading import COUNTER

from .names import tops, under
from .shared import Part, State, Transfer

HEADER = ('part', 'from', 'taken', 'reshaped', 'new', 'left out', 'units', 'density')
STATISTICS = ('running_mean', 'running_var', COUNTER)  # of norms: taken, but no weights


def rows(shared: Transfer, ticket: Ticket, state: State) -> list[tuple[str, ...]]:
    """Say per part what becomes of it, in weights: rows under :data:`HEADER`.

    Args:
        shared (Transfer): What is taken.
        ticket (Ticket): The record of the ticket, restricted to it.
        state (Mapping[str, Tensor]): Weights of the ticket.

    Returns:
        list[tuple[str, ...]]: A row for each part of the model, then for what the ticket has
        besides. Reshaped is what has been taken in other widths than the config says.
    """
    theirs = {name: tensor.shape for name, tensor in state.items()}
    came = {name: theirs[s] for name, s in shared.taken.items() if s in theirs}
    found: list[tuple[str, ...]] = []
    for part in shared.parts:
        taken = [name for name in part.taken if name in came]
        reshaped = [name for name in taken if came[name] != shared.shapes[name]]
        found.append(
            (
                part.name or 'module',
                '-' if part.source is None else part.source or 'all',
                _count(taken, came),
                _count(reshaped, came),
                _count(part.new, shared.shapes),
                _count(part.left, theirs),
                _units(ticket, part.name),
                _density(ticket, part),
            )
        )
    for name in tops(shared.loose):
        left = _count(under(name, shared.loose), theirs)
        found.append(('-', name, '0', '0', '0', left, '-', '-'))
    return found


def report(shared: Transfer, ticket: Ticket, state: State) -> str:
    """Lay the rows out as text, with the file above them; arguments as in :func:`rows`."""
    table = [HEADER, *rows(shared, ticket, state)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = zip(row, widths, strict=True)
        lines.append(
            '  '.join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(cells))
        )
    return '\n'.join([f'what the model takes from {shared.file}, in weights:', *lines])


def _count(names: Iterable[str], shapes: Mapping[str, Sequence[int]]) -> str:
    """Number of weights; statistics of norms are none."""
    return f'{sum(prod(shapes[n]) for n in names if not n.endswith(STATISTICS)):,}'


def _units(ticket: Ticket, part: str) -> str:
    """Units kept of those of the supernet."""
    names = under(part, ticket.units)
    kept = sum(len(units) for name in names for units in ticket.units[name].values())
    total = sum(count for name in names for count in ticket.total[name].values())
    return f'{kept:,} of {total:,}' if names else '-'


def _density(ticket: Ticket, part: Part) -> str:
    """Share of the masked tensors' weights that is kept."""
    names = under(part.name, ticket.masks)
    total = sum(prod(ticket.masks[name]['shape']) for name in names)
    return (
        f'{sum(int(ticket.mask(name).sum()) for name in names) / total:.4f}' if total else 'dense'
    )
