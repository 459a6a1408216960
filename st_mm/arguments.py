"""Checks of arguments in a config: an error names the argument, its value, and what it takes.

A bool is not a number, a string is not a bool, and numpy's integers and floats are numbers. A value
that passes comes back as a plain Python value, for the ticket record.
"""

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np


def is_number(value: object) -> bool:
    """Check whether a value is a finite number; True and False are not."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def is_integer(value: object, least: int) -> bool:
    """Check whether a value is an integer of at least ``least``; True and False are not."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def integer(name: str, value: object, least: int, optional: bool = False, where: str = '') -> Any:
    """Check an integer.

    Args:
        name (str): Name of the argument.
        value (object): Its value.
        least (int): The smallest value it takes.
        optional (bool): Whether it takes None as well. Defaults to False.
        where (str): What the argument belongs to, for the error. Defaults to nothing.

    Returns:
        int | None: The value.

    Raises:
        ValueError: If it is something else.
    """
    if optional and value is None:
        return None
    if not is_integer(value, least):
        either = ' or None' if optional else ''
        raise ValueError(
            f'{name} must be an integer of at least {least}{either}, got {value!r}{_at(where)}'
        )
    return int(value)  # type: ignore[call-overload]


def number(
    name: str,
    value: Any,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    where: str = '',
) -> float:
    """Check a finite number.

    Args:
        name (str): Name of the argument.
        value (object): Its value.
        least (float, optional): The smallest value it takes. Defaults to None: no bound.
        most (float, optional): The largest value it takes. Defaults to None: no bound.
        above (float, optional): It must be above this. Defaults to None: no bound.
        below (float, optional): It must be below this. Defaults to None: no bound.
        where (str): What the argument belongs to, for the error. Defaults to nothing.

    Returns:
        float: The value; an int stays an int.

    Raises:
        ValueError: If it is something else.
    """
    bounds = (
        ('of at least', least, operator.ge),
        ('above', above, operator.gt),
        ('of at most', most, operator.le),
        ('below', below, operator.lt),
    )
    asked = [(words, bound, holds) for words, bound, holds in bounds if bound is not None]
    if not (is_number(value) and all(holds(value, bound) for _, bound, holds in asked)):
        limits = ' and '.join(f'{words} {bound:g}' for words, bound, _ in asked)
        raise ValueError(
            f'{name} must be a number {limits}'.rstrip() + f', got {value!r}{_at(where)}'
        )
    return int(value) if isinstance(value, Integral) else float(value)


def flag(name: str, value: object) -> bool:
    """Check a bool: ``'False'`` and 0 are not.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f'{name} must be True or False, got {value!r}')
    return bool(value)


def choice(name: str, value: object, choices: Iterable[str]) -> str:
    """Check one of several words.

    Raises:
        ValueError: If it is something else.
    """
    known = tuple(choices)
    if not (isinstance(value, str) and value in known):
        raise ValueError(f'{name} must be one of {", ".join(known)}, got {value!r}')
    return value


def names(name: str, value: Any) -> tuple[str, ...]:
    """Check a list of names or shell patterns; a single string would be taken letter by letter.

    Raises:
        ValueError: If it is something else.
    """
    if not _is_list(value):
        raise ValueError(f'{name} must be a list of names, got {value!r}')
    if wrong := [each for each in value if not (isinstance(each, str) and each)]:
        raise ValueError(f'{name} must be a list of names, got {wrong[0]!r} in it')
    return tuple(value)


def picture(name: str, value: Any) -> tuple[int, int, int]:
    """Check the shape of a picture: (channels, height, width).

    Raises:
        ValueError: If it is something else.
    """
    if not _is_list(value) or len(value) != 3 or not all(is_integer(size, 1) for size in value):
        raise ValueError(
            f'{name} must be (channels, height, width), integers of at least 1, got {value!r}'
        )
    channels, height, width = (int(size) for size in value)
    return channels, height, width


def counts(name: str, value: Any, least: int = 1) -> tuple[int, ...]:
    """Check a list of integers, such as channels; it may be empty.

    Raises:
        ValueError: If it is something else.
    """
    if not _is_list(value):
        raise ValueError(f'{name} must be a list of integers of at least {least}, got {value!r}')
    return tuple(integer(f'{name}[{i}]', each, least) for i, each in enumerate(value))


def kernels(name: str, value: Any) -> tuple[int, ...]:
    """Check kernel sizes: odd, and rising, so that the units of a ticket have one order.

    Raises:
        ValueError: If they are something else.
    """
    sizes = value if _is_list(value) else ()
    odd = all(is_integer(size, 1) and size % 2 for size in sizes)
    if not sizes or not odd or list(sizes) != sorted(set(sizes)):
        raise ValueError(f'{name} must be different odd numbers in rising order, got {value!r}')
    return tuple(int(size) for size in sizes)


def settings(name: str, value: Any, several: bool = False) -> Any:
    """Check the config of a part: None, or a dict with a type, such as ``norm_cfg``.

    Args:
        name (str): Name of the argument.
        value (object): Its value.
        several (bool): Whether it takes a list of dicts as well, as ``init_cfg`` does. Defaults to
            False.

    Returns:
        dict | list[dict] | None: The value.

    Raises:
        ValueError: If it is something else.
    """
    parts = value if several and _is_list(value) and len(value) else [value]
    typed = all(isinstance(part, Mapping) and _is_type(part.get('type')) for part in parts)
    if value is not None and not typed:
        either = ', or a list of such dicts' if several else ''
        raise ValueError(f"{name} must be a dict with a 'type'{either}, or None, got {value!r}")
    return value


def _is_type(value: object) -> bool:
    return isinstance(value, type) or (isinstance(value, str) and bool(value))


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _at(where: str) -> str:
    return f' for {where}' if where else ''
