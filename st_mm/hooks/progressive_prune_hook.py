"""ProgressivePruneHook: the paper's schedule, which adds a step at each prune."""

from typing import Any

from mmengine.registry import HOOKS

from .prune_hook import PruneHook


@HOOKS.register_module()
class ProgressivePruneHook(PruneHook):
    """Prune any model progressively while it trains (paper Section 3.2).

    Every ``interval`` epochs, the weights with the lowest scores in the network are masked, to the
    ratio ``min(ratio, step * number of prunes)``.

    Args:
        ratio (float): Share of the prunable weights that is masked at the end, in (0, 1).
        interval (int): Epochs (or iterations) between two prunes. Defaults to 25.
        step (float): Share that each prune adds; 1 for the whole ratio at once.
            Defaults to 0.1.
        begin (int): Time from which intervals are counted. Defaults to 0.
        end (int, optional): Last time at which a prune may happen. Defaults to None: no end.
        **kwargs: All arguments of :class:`PruneHook` except the schedule.

    Raises:
        ValueError: If an argument is out of its range, the model has no prunable weights, or
            the training is too short for the ratio.
    """

    def __init__(
        self,
        ratio: float,
        interval: int = 25,
        step: float = 0.1,
        begin: int = 0,
        end: int | None = None,
        **kwargs: Any,
    ) -> None:
        schedule = dict(
            type='Progressive', ratio=ratio, interval=interval, step=step, begin=begin, end=end
        )
        super().__init__(schedule, **kwargs)
