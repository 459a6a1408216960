"""A search that aims at a size of the network: how hard it pulls, and which dead units may go."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from st_mm.arguments import number

from .importance import importance
from .savings import Savings

STRONGEST = 1e6
# what a step multiplies the pull by: at most, at most while scales do not move at all, and at least
FASTER, SEARCHING, SLOWER = 4.0, 100.0, 0.7
LATE = 2.0  # the same, at least, once all scales should be there: learning rates fall
MOVING = 0.9  # of the way at the start is left: the scales move
ON_THE_LINE = 0.6  # of the training is done at the latest when the scales should be there
CLOSE = 0.005  # of the target above it: the penalty rests
REACHED = 0.02  # of the target above it: it counts as reached at the end

Figures = Mapping[str, float]


class Budget:
    """What a search aims at.

    Args:
        target (Mapping[str, float | str]): By resource a number, or a share such as ``'35%'`` of
            the network that the training begins with. Of several, the search goes on until all are
            met.
        resources (Sequence[str]): What a target may be of. Defaults to ``macs`` (of one picture, as
            the search counts them) and ``params``.

    Raises:
        ValueError: If a target is something else.
    """

    def __init__(self, target: Any, resources: Sequence[str] = ('macs', 'params')) -> None:
        if not isinstance(target, Mapping) or not target:
            raise ValueError(
                f'target must be a dict of {" or ".join(resources)}, such as dict(macs=1e9) or '
                f"dict(macs='35%'), got {target!r}"
            )
        if unknown := [name for name in target if name not in resources]:
            raise ValueError(
                f'target takes {" and ".join(resources)}, got {unknown[0]!r}: another one has to '
                'be the cost of the search'
            )
        self.target = {name: _amount(name, value) for name, value in target.items()}

    def limits(self, start: Figures) -> dict[str, float]:
        """Compute the target in MACs and parameters.

        Args:
            start (Mapping[str, float]): Those of the network that the training begins with.

        Raises:
            ValueError: If that network is small enough already.
        """
        limits = {}
        for name, value in self.target.items():
            limit = float(value[:-1]) / 100 * start[name] if isinstance(value, str) else value
            if limit >= start[name]:
                raise ValueError(
                    f'target is {name}={value!r}, but the training begins with '
                    f"{start[name]:,.6g}: give a smaller number, or a share like {name}='50%'"
                )
            limits[name] = limit
        return limits


def _amount(name: str, value: Any) -> float | str:
    if not isinstance(value, str):
        return number(f'target[{name!r}]', value, above=0)
    if not re.fullmatch(r'\d+(\.\d+)?%', value) or not 0 < float(value[:-1]) < 100:
        raise ValueError(
            f"target[{name!r}] must be a number, or a share between 0 and 100 like '35%', "
            f'got {value!r}'
        )
    return value


class Course:
    """The way of one training to its target.

    The least important units have to go, as many as the target asks for. What is left of the way is
    the largest of their scales, as far as it is above the threshold: a sum would grow small while
    some have not moved, since units that cost little are pulled less. It should shrink evenly until
    ``line``: an EMA takes its time to follow, and learning rates fall. After every search step the
    pull, by which rho is multiplied, rises or falls by how much faster or slower that has to go;
    once the target is met, it is 0. So the course follows from the config, the time, the weights,
    and what the record says of the step before.

    Args:
        limits (Mapping[str, float]): The target, by resource.
        start (Mapping[str, float]): What the training begins with, by resource.
        first (float): What was left of the way at the first step. Defaults to 0, before it: the
            pull stays at this step, since nothing is known of the pace yet.
        pull (float): The last pull. Defaults to 1.
        left (float): What was left at the last step. Defaults to 0, before the first.
        line (float): Share of the training that is done when scales should be there. Defaults to
            0.6.
    """

    def __init__(
        self,
        limits: Figures,
        start: Figures,
        first: float = 0.0,
        pull: float = 1.0,
        left: float = 0.0,
        line: float = ON_THE_LINE,
    ) -> None:
        self.limits = limits
        self.start = start
        self.first = first
        self.pull = pull
        self.left = left
        self.line = line

    def excess(self, figures: Figures) -> float:
        """By which share of the target a network is above it; of several, the farthest counts."""
        return max(figures[name] / limit - 1 for name, limit in self.limits.items())

    def advance(
        self,
        figures: Figures,
        left: float,
        done: float,
        interval: float,
        warmup: float,
        total: float,
    ) -> None:
        """Choose the pull until the next step.

        Args:
            figures (Mapping[str, float]): The network now.
            left (float): What is left of the way, see :func:`way_left`.
            done (float): Epochs (or iterations) done.
            interval (float): Those between two steps.
            warmup (float): Those during which rho rises.
            total (float): Length of the training.
        """
        begins = not self.first
        self.first = self.first or left
        stands = min(self.left, left) > MOVING * self.first
        made, self.left = self.left - left, left
        if self.excess(figures) <= CLOSE:
            self.pull = 0.0
        # without a way, the pull holds scales there
        if begins or not self.pull or not left or done < warmup:
            return
        steps = (self.line * total - done) / interval
        least = SLOWER if steps > 0 else LATE
        most = SEARCHING if stands else FASTER
        factor = left / max(steps, 1.0) / made if made > 0 else most
        self.pull = min(max(self.pull * min(max(factor, least), most), 1 / STRONGEST), STRONGEST)

    def allowed(
        self, savings: Savings, dead: Mapping[str, Tensor], figures: Figures
    ) -> dict[str, Tensor]:
        """Choose which dead units go: the least important ones, and none beyond the target.

        Where that leaves dead units, the target is met, and the penalty rests from now on.

        Args:
            savings (Savings): What units cost.
            dead (Mapping[str, Tensor]): (units,) bool per owner.
            figures (Mapping[str, float]): The network now.

        Returns:
            dict[str, Tensor]: The same for those that go.
        """
        chosen = until_target(self.limits, savings, dead, figures)
        if any((chosen[name] != mask).any() for name, mask in dead.items()):
            self.pull = 0.0
        return chosen


def until_target(
    limits: Figures, savings: Savings, units: Mapping[str, Tensor], figures: Figures
) -> dict[str, Tensor]:
    """Choose the least important units, as many as go without leading beyond a target.

    Args:
        limits (Mapping[str, float]): The target, by resource.
        savings (Savings): What units cost.
        units (Mapping[str, Tensor]): (units,) bool per owner.
        figures (Mapping[str, float]): The network now.
    """

    def fits(chosen: Mapping[str, Tensor]) -> bool:
        saved = savings.saved(chosen)
        return any(figures[name] - saved[name] >= limit for name, limit in limits.items())

    if fits(units):
        return dict(units)
    least, most = 0, sum(int(mask.sum()) for mask in units.values())
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if fits(savings.first(units, middle)) else (least, middle)
    return savings.first(units, least)


def way_left(limits: Figures, savings: Savings, figures: Figures, threshold: float) -> float:
    """Measure how far the last of the units that have to go is from the threshold.

    Args:
        limits (Mapping[str, float]): The target, by resource.
        savings (Savings): What units cost.
        figures (Mapping[str, float]): The network now.
        threshold (float): Largest importance at which a unit is dead.

    Returns:
        float: 0 where all of them are there.
    """
    units = until_target(limits, savings, savings.removable(), figures)
    scores = [importance(owner)[units[name]] for name, owner in savings.owners.items()]
    return max([0.0, *(float(each.max()) - threshold for each in scores if len(each))])
