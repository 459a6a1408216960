"""What the log says of an event, a line each."""

from collections.abc import Mapping, Sequence

LABELS = dict(macs='MACs', params='parameters')
NAMED = 3  # weights of a line at most; density/NAME in the log has all


def search_line(
    when: object,
    found: int,
    saved: float,
    least: float,
    units: float,
    macs: float,
    cost: tuple[str, float] | None = None,
) -> str:
    """Say what a search step did.

    Args:
        when (object): When, such as ``epoch 2``.
        found (int): Dead units found.
        saved (float): MACs that go with them.
        least (float): Fewer MACs than these are not worth a step: ``min_macs_drop``.
        units (float): Units in the network now.
        macs (float): Its MACs now.
        cost (tuple[str, float], optional): Another cost of units, and that of the network. Defaults
            to None.

    Returns:
        str: One line.
    """
    if not found:
        return f'search at {when}: no dead units'
    if saved < least:
        return (
            f'search at {when}: {counted(found, "dead unit")} found, but not removed: '
            f'{saved:,.0f} MACs are fewer than min_macs_drop, {least:,.10g}'
        )
    others = f', {amount(*cost)}' if cost else ''
    return (
        f'search at {when}: {counted(found, "dead unit")} removed, {saved:,.0f} MACs; '
        f'{units:,} units, {macs:,} MACs{others} stay'
    )


def amount(name: str, value: float) -> str:
    """Write what a network costs, with its unit."""
    if name == 'latency':  # in seconds
        return f'{1e3 * value:.4g} ms'
    return f'{value:,.0f} {LABELS[name]}' if name in LABELS else f'{value:,.6g} of {name}'


def course_line(excess: float, pull: float, limits: Mapping[str, float]) -> str:
    """Say how far a search is from its target.

    Args:
        excess (float): By which share of the target the network is above it.
        pull (float): By what rho is multiplied from now on; 0 at the target.
        limits (Mapping[str, float]): The target, by resource.

    Returns:
        str: The end of a line.
    """
    target = ' and '.join(amount(name, value) for name, value in limits.items())
    there = f'; target of {target}: {100 * excess:+.1f} %'
    return f'{there}, the penalty rests' if not pull else f'{there}, rho times {pull:.3g}'


def prune_line(
    when: object, ratio: float, density: float, flips: int, iou: float, closed: Sequence[str] = ()
) -> str:
    """Say what a prune did.

    Args:
        when (object): When, such as ``epoch 2``.
        ratio (float): Share of weights to mask.
        density (float): Share that is left.
        flips (int): Masks that have changed.
        iou (float): Of the weights kept before and now.
        closed (Sequence[str]): Names of the weights that it has masked whole. Defaults to none.

    Returns:
        str: One line.
    """
    return f'prune at {when} {_masks(ratio, density, flips, iou, closed)}'


def refit_line(
    when: object, ratio: float, density: float, flips: int, iou: float, closed: Sequence[str] = ()
) -> str:
    """Say what fitting the masks again did, after units went or weights began to train.

    Args and return value are those of :func:`prune_line`.
    """
    return f'masks fitted again at {when} {_masks(ratio, density, flips, iou, closed)}'


def reactivate_line(when: object, freed: int, density: float) -> str:
    """Say how many masked weights were set free."""
    return f'reactivate at {when}: {counted(freed, "weight")} set free, density {density:.4f}'


def reap_line(when: object, removed: int, units: int, ratio: float) -> str:
    """Say how many units were empty and have gone, and what share of the weights left is masked."""
    if not removed:
        return f'reap at {when}: no unit is empty'
    return (
        f'reap at {when}: {counted(removed, "empty unit")} of {units:,} removed, '
        f'{ratio:.4f} of the weights that stay are masked'
    )


def _masks(ratio: float, density: float, flips: int, iou: float, closed: Sequence[str]) -> str:
    changed = f'{counted(flips, "mask")} changed' if flips else 'no mask changed'
    line = f'to a ratio of {ratio:g}: density {density:.4f}, {changed} (IoU {iou:.3f})'
    if not closed:
        return line
    others = f' and {len(closed) - NAMED} more' if len(closed) > NAMED else ''
    return f'{line}; masked whole now: {", ".join(closed[:NAMED])}{others}'


def counted(number: int, noun: str) -> str:
    """Write how many there are: ``'1 epoch'``, ``'2 epochs'``."""
    return f'{number:,} {noun}' + ('' if number == 1 else 's')
