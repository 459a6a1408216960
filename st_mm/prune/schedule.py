"""Pruning schedules: the ratio as a pure function of progress (paper Section 3.2)."""

import sys
from dataclasses import dataclass

from mmengine.registry import Registry

from st_mm.arguments import integer, is_integer, number

from .registry import build

SCHEDULES = Registry('prune schedule', build_func=build, scope='st_mm')


@dataclass(frozen=True)
class Schedule:
    """Base of the schedules: when prunes happen, and the ratio that holds after each.

    Time runs in epochs or iterations, whichever the caller counts; t is the number done, 0 is
    before the first. A subclass says at which :attr:`times` it prunes, and to what.

    Attributes:
        ratio (float): Share of the weights masked at the end, p in (0, 1).

    Raises:
        ValueError: If a field is out of its range.
    """

    ratio: float

    def __post_init__(self) -> None:
        number('ratio', self.ratio, above=0, below=1)

    @property
    def times(self) -> range:
        """List every time at which a prune happens, in a training without end."""
        raise NotImplementedError

    def ratio_after(self, prunes: int) -> float:
        """Compute the ratio that a number of prunes reaches, at least one."""
        return self.ratio

    def _until(self, t: int) -> range:
        times = self.times
        return range(times.start, min(times.stop, t + 1), times.step)

    def due(self, t: int) -> bool:
        """Check whether a prune happens when t is done."""
        return t in self.times

    def ratio_at(self, t: int) -> float:
        """Compute the ratio that holds when t is done; 0 before the first prune."""
        prunes = len(self._until(t))
        return self.ratio_after(prunes) if prunes else 0.0

    def last(self, total: int) -> int | None:
        """Find the time of the last prune in a training of length ``total``; None without one."""
        done = self._until(total)
        return done[-1] if done else None


def _times(first: int, interval: int, end: int | None) -> range:
    return range(first, sys.maxsize if end is None else end + 1, interval)


@SCHEDULES.register_module()
@dataclass(frozen=True)
class Progressive(Schedule):
    """Prune every ``interval`` to a ratio of min(p, step * number of prunes).

    Attributes:
        ratio (float): Share of the weights masked at the end, p in (0, 1).
        interval (int): Time between two prunes, t_p; the first is at ``begin + interval``.
        step (float): Share added by each prune; 1 prunes to ``ratio`` at once (no PP).
            Defaults to 0.1.
        begin (int): Time from which intervals are counted. Defaults to 0.
        end (int, optional): Last time at which a prune may happen; None for the end of training.

    Raises:
        ValueError: If a field is out of its range.
    """

    interval: int
    step: float = 0.1
    begin: int = 0
    end: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        integer('interval', self.interval, 1)
        number('step', self.step, above=0, most=1)
        integer('begin', self.begin, 0)
        _check_end(self.end, self.begin + self.interval)

    @property
    def times(self) -> range:
        """List every ``interval`` after ``begin``."""
        return _times(self.begin + self.interval, self.interval, self.end)

    def ratio_after(self, prunes: int) -> float:
        """Compute the ratio min(p, step * number of prunes)."""
        # rounded, since 3 * 0.1 is a little more than 0.3
        return min(self.ratio, round(self.step * prunes, 12))


@SCHEDULES.register_module()
@dataclass(frozen=True)
class OneShot(Schedule):
    """Prune once, to the whole ratio (S+P in the paper's Table 1: after the search has ended).

    Attributes:
        ratio (float): Share of the weights masked, p in (0, 1).
        at (int): Time of the prune; 0 is before any training.

    Raises:
        ValueError: If a field is out of its range.
    """

    at: int

    def __post_init__(self) -> None:
        super().__post_init__()
        integer('at', self.at, 0)

    @property
    def times(self) -> range:
        """List the one time."""
        return range(self.at, self.at + 1)


@SCHEDULES.register_module()
@dataclass(frozen=True)
class Cubic(Schedule):
    """Prune fast at first, then more and more slowly (Zhu and Gupta 2017, arXiv:1710.01878).

    The i-th of the prunes at ``begin``, ``begin + interval``, ... goes to
    ``ratio + (start - ratio) * (1 - i / n) ** 3``, i = 0 ... n. The last of them, which has
    exactly ``ratio``, is at ``begin + n * interval``, n = (end - begin) // interval: at ``end``,
    or up to one interval earlier.

    Attributes:
        ratio (float): Share of the weights masked at the end, p in (0, 1).
        end (int): Last time at which a prune may happen.
        begin (int): Time of the first prune. Defaults to 0: before any training.
        interval (int): Time between two prunes. Defaults to 1.
        start (float): Ratio of the first prune, at least 0 and below ``ratio``. Defaults to 0.

    Raises:
        ValueError: If a field is out of its range.
    """

    end: int
    begin: int = 0
    interval: int = 1
    start: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        integer('begin', self.begin, 0)
        integer('interval', self.interval, 1)
        integer('end', self.end, 0)
        _check_end(self.end, self.begin + self.interval)
        number('start', self.start, least=0, below=self.ratio)

    @property
    def times(self) -> range:
        """List the times from ``begin`` to ``end``."""
        return _times(self.begin, self.interval, self.end)

    def ratio_after(self, prunes: int) -> float:
        """Compute the ratio on the cubic curve."""
        to_come = 1 - (prunes - 1) / (len(self.times) - 1)
        return self.ratio + (self.start - self.ratio) * to_come**3


@SCHEDULES.register_module()
@dataclass(frozen=True)
class Constant(Schedule):
    """Hold the whole ratio from ``begin`` on, with new masks every ``interval``.

    Attributes:
        ratio (float): Share of the weights masked, p in (0, 1).
        begin (int): Time of the first prune. Defaults to 0: before any training.
        interval (int, optional): Time after which new masks are chosen at the same ratio.
            Defaults to None: never.
        end (int, optional): Last time at which new masks may be chosen; None for the end of
            training.

    Raises:
        ValueError: If a field is out of its range.
    """

    begin: int = 0
    interval: int | None = None
    end: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        integer('begin', self.begin, 0)
        if self.interval is not None:
            integer('interval', self.interval, 1)
            _check_end(self.end, self.begin)
        elif self.end is not None:
            raise ValueError(f'end must come with an interval, got {self.end!r} alone')

    @property
    def times(self) -> range:
        """List ``begin``, and every ``interval`` after it."""
        if self.interval is None:
            return range(self.begin, self.begin + 1)
        return _times(self.begin, self.interval, self.end)


def _check_end(end: object, first: int) -> None:
    """Refuse an end before the first prune, or before the second if there must be two."""
    if end is not None and not is_integer(end, first):
        raise ValueError(
            f'end must be an integer that leaves room for a prune at {first}, got {end!r}'
        )
