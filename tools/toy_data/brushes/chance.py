"""Weighted choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Option = TypeVar('Option')


def pick(
    rng: np.random.Generator, options: Sequence[Option], chances: Sequence[float] | None = None
) -> Option:
    """One of some options; unlike ``rng.choice`` it is quick and leaves the option as it is.

    Args:
        rng (np.random.Generator): Source of randomness.
        options (Sequence[Option]): What to pick from.
        chances (Sequence[float] | None): Weight of each option, on any scale. Defaults to equal.

    Returns:
        Option: The one picked.
    """
    if chances is None:
        return options[int(rng.random() * len(options))]
    rest = rng.random() * sum(chances)
    for option, chance in zip(options, chances, strict=True):
        rest -= chance
        if rest < 0:
            return option
    return options[-1]
