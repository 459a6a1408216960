"""Survival of search units over the steps of a search, by kernel, branch and block."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from st_mm.ticket import Ticket

from .architecture import BRANCH, FUSION

Counts = dict[str, tuple[int, ...]]
Sizes = dict[tuple[str, str], int]  # by block and kernel


@dataclass(frozen=True)
class Survival:
    """Units alive at the start and after each search step, and each reaping.

    Attributes:
        unit (str): Unit of time, ``'epoch'`` or ``'iter'``.
        times (tuple[int, ...]): When; 0 for the start.
        groups (dict[str, tuple[int, ...]]): Units alive, by kernel (or tokens).
        branches (dict[str, tuple[int, ...]]): Units alive, by the resolution that a block of our
            supernet writes (``'1/8'``); empty for other networks.
        blocks (dict[str, tuple[int, ...]]): Units alive, by the module that owns them.
        total (dict[str, int]): Units in the supernet, by the module that owns them.
    """

    unit: str
    times: tuple[int, ...]
    groups: Counts
    branches: Counts
    blocks: Counts
    total: dict[str, int]


def survival(ticket: Ticket) -> Survival:
    """Follow the units of a ticket over the search that drew it.

    Args:
        ticket (Ticket): Its record.

    Returns:
        Survival: Units alive over time.

    Raises:
        ValueError: If the ticket was not searched, or an older version has written its record
            without which units went when.
    """
    steps = [event for event in ticket.events if event['kind'] in ('search', 'reap')]
    taken = sum(event['removed'] > 0 for event in steps)
    if not steps:
        raise ValueError('the record of the ticket has no search step')
    if len(ticket.removals) < taken:
        raise ValueError(
            f'the record of the ticket has {taken} search steps that removed units, and says of '
            f'{len(ticket.removals)} which: it was written before that was noted'
        )
    # a training that began with a ticket has the removals of the one before it in its record too
    noted = iter(ticket.removals[len(ticket.removals) - taken :])
    course = [_sizes(ticket.units)]
    for event, removed in reversed([(e, next(noted) if e['removed'] else {}) for e in steps]):
        gone = _sizes(removed)
        if sum(gone.values()) != event['removed']:
            raise ValueError(
                f'the record of the ticket says that {event["removed"]} units went at '
                f'{event["unit"]} {event["t"]}, and names {sum(gone.values())}: the file was edited'
            )
        course.append({place: n + gone.get(place, 0) for place, n in course[-1].items()})
    course.reverse()
    return Survival(
        unit=steps[0]['unit'],
        times=(0, *(event['t'] for event in steps)),
        groups=_sums(course, lambda _, group: group),
        branches=_sums(course, lambda name, _: branch_of(name)),
        blocks=_sums(course, lambda name, _: name),
        total={name: sum(groups.values()) for name, groups in ticket.total.items()},
    )


def branch_of(name: str) -> str | None:
    """Tell the resolution that a block of our supernet writes, ``'1/4'``; None for others."""
    if found := BRANCH.search(name.removesuffix('.shortcut')):
        return f'1/{4 * 2 ** int(found[2])}'
    if found := FUSION.search(name.removesuffix('.shortcut')):
        return f'1/{4 * 2 ** int(found[3])}'
    return None


def _sizes(units: Mapping[str, Mapping[str, Sequence[int]]]) -> Sizes:
    return {
        (name, g): len(indices) for name, groups in units.items() for g, indices in groups.items()
    }


def _sums(course: Sequence[Sizes], key: Callable[[str, str], str | None]) -> Counts:
    """Add up the units of each moment by what a key says of their block and kernel."""
    rows: dict[str, list[int]] = {}
    for moment, sizes in enumerate(course):
        for place, count in sizes.items():
            if (name := key(*place)) is not None:
                rows.setdefault(name, [0] * len(course))[moment] += count
    return {name: tuple(row) for name, row in rows.items()}
