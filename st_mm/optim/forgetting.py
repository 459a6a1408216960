"""How long a moving average takes to forget."""

import math

import numpy as np
from mmengine.model import BaseAveragedModel, ExponentialMovingAverage, MomentumAnnealingEMA
from numpy.typing import NDArray

from .ema import RampedEMA


def last_zero(average: BaseAveragedModel, updates: int, share: float) -> int:
    """Compute by when a weight has to be zero, for its average to be small at the end.

    Args:
        average (BaseAveragedModel): The average.
        updates (int): Length of the training.
        share (float): What may be left in the average of what the weight was before, above 0.

    Returns:
        int: After how many updates at the latest; 0 where no time is long enough. All of them
        where it is not known how the average forgets: it is no exponential one.
    """
    kept = _kept(average, updates)
    if kept is None:
        return updates
    return max(int((kept <= math.log(share)).sum()) - 1, 0)


def still_there(average: BaseAveragedModel, updates: int) -> float:
    """Compute the share of a weight that is left in its average if it is zero from the start.

    Args:
        average (BaseAveragedModel): The average.
        updates (int): Length of the training.

    Returns:
        float: The share; 0 where it is not known how the average forgets.
    """
    kept = _kept(average, updates)
    return 0.0 if kept is None else math.exp(kept[0])


def _kept(average: BaseAveragedModel, updates: int) -> NDArray[np.float64] | None:
    """Compute the logarithm of what the end still has of the average before each update."""
    if not isinstance(average, ExponentialMovingAverage):
        return None
    count = np.arange(updates)
    takes = np.full(updates, average.momentum, dtype=np.float64)
    if isinstance(average, RampedEMA):
        takes = np.maximum(takes, 9 / (11 + count))
    elif isinstance(average, MomentumAnnealingEMA):
        takes = np.maximum(takes, average.gamma / (average.gamma + count))
    takes[count % average.interval != 0] = 0
    with np.errstate(divide='ignore'):
        kept: NDArray[np.float64] = np.log1p(-takes)[::-1].cumsum()[::-1]
    return kept
