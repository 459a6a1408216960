"""A search that aims at a size of the network: how hard it pulls, and which dead units may go."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from st_mm.arguments import number

from .savings import Savings

RESOURCES = ('macs', 'params')
GAIN = 10.0  # what the pull is multiplied by where nothing has gone of all that should have
STRONGEST = 1e6
ON_THE_LINE = 0.8  # of the training is done when the target should be reached; the rest is reserve
CLOSE = 0.005  # of the target above it: the penalty rests
REACHED = 0.02  # of the target above it: it counts as reached at the end

Figures = Mapping[str, float]


class Budget:
    """What a search aims at.

    Args:
        target (Mapping[str, float | str]): ``macs`` (of one picture, as the search counts them),
            ``params``, or both: a number, or a share such as ``'35%'`` of the network that the
            training begins with. Of both, the search goes on until both are met.

    Raises:
        ValueError: If a target is something else.
    """

    def __init__(self, target: Any) -> None:
        if not isinstance(target, Mapping) or not target:
            raise ValueError(
                'target must be a dict of macs or params, such as dict(macs=1e9) or '
                f"dict(macs='35%'), got {target!r}"
            )
        if unknown := [name for name in target if name not in RESOURCES]:
            raise ValueError(f'target takes {" and ".join(RESOURCES)}, got {unknown[0]!r}')
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
                    f"{start[name]:,.0f}: give a smaller number, or a share like {name}='50%'"
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

    The network should be on a line that falls from its size at the end of the warm-up to the target
    at 80 % of the training. After every search step the pull, by which rho is multiplied, rises or
    falls with the distance from that line; once the target is met, it is 0. So the course follows
    from the config, the time, the units alive, and the last pull.

    Args:
        limits (Mapping[str, float]): The target, by resource.
        start (Mapping[str, float]): What the training begins with.
        pull (float): The last pull. Defaults to 1.
    """

    def __init__(self, limits: Figures, start: Figures, pull: float = 1.0) -> None:
        self.limits = limits
        self.start = start
        self.pull = pull

    def excess(self, figures: Figures) -> float:
        """By which share of the target a network is above it; of several, the farthest counts."""
        return max(figures[name] / limit - 1 for name, limit in self.limits.items())

    def advance(self, figures: Figures, done: float, warmup: float, total: float) -> None:
        """Choose the pull until the next step.

        Args:
            figures (Mapping[str, float]): The network now.
            done (float): Epochs (or iterations) done.
            warmup (float): Those during which rho rises.
            total (float): Length of the training.
        """
        if self.excess(figures) <= CLOSE:
            self.pull = 0.0
        if not self.pull:
            return
        end = max(ON_THE_LINE * total, warmup)
        line = min(1.0, max(0.0, (end - done) / (end - warmup))) if end > warmup else 1.0
        left = max(
            (figures[n] - limit) / (self.start[n] - limit) for n, limit in self.limits.items()
        )
        self.pull = min(max(self.pull * GAIN ** (left - line), 1 / STRONGEST), STRONGEST)

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

        def fits(chosen: Mapping[str, Tensor]) -> bool:
            saved = savings.saved(chosen)
            return self.excess({n: figures[n] - saved[n] for n in self.limits}) >= 0

        if fits(dead):
            return dict(dead)
        self.pull = 0.0
        least, most = 0, sum(int(mask.sum()) for mask in dead.values())
        while most - least > 1:
            middle = (least + most) // 2
            least, most = (middle, most) if fits(savings.first(dead, middle)) else (least, middle)
        return savings.first(dead, least)
