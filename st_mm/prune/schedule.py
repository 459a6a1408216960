"""Pruning schedules: the ratio as a pure function of progress (paper Section 3.2)."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.registry import Registry


def build(cfg: Mapping[str, Any], registry: Registry) -> Any:
    """Build what a config names, whatever the default scope.

    The registries of pruning have no counterparts in the mm packages, so that mmengine's own way
    warns in each of their scopes.

    Args:
        cfg (Mapping[str, Any]): ``type`` and the arguments.
        registry (Registry): Where to look the type up.

    Returns:
        Any: The instance.

    Raises:
        ValueError: If there is no such type in the registry, or an argument is out of its range.
    """
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise ValueError(f"a {registry.name} must be a dict with a 'type', got {cfg!r}")
    arguments = dict(cfg)
    name = arguments.pop('type')
    kind = registry.get(name) if isinstance(name, str) else name
    if kind is None:
        names = ', '.join(registry.module_dict)
        raise ValueError(f'the type of a {registry.name} must be one of {names}, got {name!r}')
    return kind(**arguments)


SCHEDULES = Registry('prune schedule', build_func=build, scope='st_mm')


def is_number(value: object) -> bool:
    """Whether a config's value is a finite number; True and False are none."""
    return isinstance(value, (int, float)) and type(value) is not bool and math.isfinite(value)


def is_integer(value: object, least: int) -> bool:
    """Whether a config's value is an integer of at least ``least``; True and False are none."""
    return isinstance(value, int) and type(value) is not bool and value >= least


def _check_integer(name: str, value: object, least: int) -> None:
    if not is_integer(value, least):
        raise ValueError(f'{name} must be an integer of at least {least}, got {value!r}')


@dataclass(frozen=True)
class Schedule:
    """Base of the schedules: when prunes happen, and the ratio that holds after each.

    Time runs in epochs or iterations, whichever the caller counts; t is the number done, 0 is
    before the first. A subclass says at which :attr:`times` it prunes, and to what.

    Attributes:
        ratio (float): Share of the weights masked in the end, p in (0, 1).

    Raises:
        ValueError: If a field is out of its range.
    """

    ratio: float

    def __post_init__(self) -> None:
        if not (is_number(self.ratio) and 0 < self.ratio < 1):
            raise ValueError(f'ratio must be between 0 and 1, got {self.ratio!r}')

    @property
    def times(self) -> range:
        """Every time at which a prune happens, in a training without end."""
        raise NotImplementedError

    def ratio_after(self, prunes: int) -> float:
        """Ratio that the given number of prunes reaches, at least one."""
        return self.ratio

    def _until(self, t: int) -> range:
        times = self.times
        return range(times.start, min(times.stop, t + 1), times.step)

    def due(self, t: int) -> bool:
        """Whether a prune happens when t is done."""
        return t in self.times

    def ratio_at(self, t: int) -> float:
        """Ratio that holds when t is done; 0 before the first prune."""
        prunes = len(self._until(t))
        return self.ratio_after(prunes) if prunes else 0.0

    def last(self, total: int) -> int | None:
        """Time of the last prune in a training of length ``total``; None if there is none."""
        done = self._until(total)
        return done[-1] if done else None


def _times(first: int, interval: int, end: int | None) -> range:
    return range(first, sys.maxsize if end is None else end + 1, interval)


@SCHEDULES.register_module()
@dataclass(frozen=True)
class Progressive(Schedule):
    """Prune every ``interval``, each time ``step`` more: min(p, step * number of prunes).

    Attributes:
        ratio (float): Share of the weights masked in the end, p in (0, 1).
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
        _check_integer('interval', self.interval, 1)
        if not (is_number(self.step) and 0 < self.step <= 1):
            raise ValueError(f'step must be above 0 and at most 1, got {self.step!r}')
        _check_integer('begin', self.begin, 0)
        _check_end(self.end, self.begin + self.interval)

    @property
    def times(self) -> range:
        """Every ``interval`` behind ``begin``."""
        return _times(self.begin + self.interval, self.interval, self.end)

    def ratio_after(self, prunes: int) -> float:
        """The ratio min(p, step * number of prunes)."""
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
        _check_integer('at', self.at, 0)

    @property
    def times(self) -> range:
        """The one time."""
        return range(self.at, self.at + 1)


@SCHEDULES.register_module()
@dataclass(frozen=True)
class Cubic(Schedule):
    """Prune fast at first, then ever slower (Zhu and Gupta 2017, arXiv:1710.01878).

    The i-th of the prunes at ``begin``, ``begin + interval``, ... goes to
    ``ratio + (start - ratio) * (1 - i / n) ** 3``, i = 0 ... n. The last of them, which has
    exactly ``ratio``, is at ``begin + n * interval``, n = (end - begin) // interval: at ``end``,
    or up to one interval earlier.

    Attributes:
        ratio (float): Share of the weights masked in the end, p in (0, 1).
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
        _check_integer('begin', self.begin, 0)
        _check_integer('interval', self.interval, 1)
        _check_integer('end', self.end, 0)
        _check_end(self.end, self.begin + self.interval)
        if not (is_number(self.start) and 0 <= self.start < self.ratio):
            raise ValueError(
                f'start must be at least 0 and below the ratio of {self.ratio:g}, '
                f'got {self.start!r}'
            )

    @property
    def times(self) -> range:
        """From ``begin`` to ``end``."""
        return _times(self.begin, self.interval, self.end)

    def ratio_after(self, prunes: int) -> float:
        """Ratio on the cubic curve."""
        to_come = 1 - (prunes - 1) / (len(self.times) - 1)
        return self.ratio + (self.start - self.ratio) * to_come**3


@SCHEDULES.register_module()
@dataclass(frozen=True)
class Constant(Schedule):
    """Hold the whole ratio from ``begin`` on, with new masks every ``interval``.

    Attributes:
        ratio (float): Share of the weights masked, p in (0, 1).
        begin (int): Time of the first prune. Defaults to 0: before any training.
        interval (int, optional): Time after which masks are chosen anew at the same ratio.
            Defaults to None: never.
        end (int, optional): Last time at which masks may be chosen anew; None for the end of
            training.

    Raises:
        ValueError: If a field is out of its range.
    """

    begin: int = 0
    interval: int | None = None
    end: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_integer('begin', self.begin, 0)
        if self.interval is not None:
            _check_integer('interval', self.interval, 1)
            _check_end(self.end, self.begin)
        elif self.end is not None:
            raise ValueError(f'end must come with an interval, got {self.end!r} alone')

    @property
    def times(self) -> range:
        """``begin``, and every ``interval`` behind it."""
        if self.interval is None:
            return range(self.begin, self.begin + 1)
        return _times(self.begin, self.interval, self.end)


def _check_end(end: object, first: int) -> None:
    """Refuse an end before the first prune, or the second where there must be two."""
    if end is not None and not is_integer(end, first):
        raise ValueError(
            f'end must be an integer that leaves room for a prune at {first}, got {end!r}'
        )
