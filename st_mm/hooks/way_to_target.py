"""How a search comes to its target: what it asks of the running network, and what it says."""

from collections.abc import Mapping

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from st_mm.optim import last_zero, proportional
from st_mm.search import (
    ON_THE_LINE,
    REACHED,
    Budget,
    Cost,
    Course,
    Savings,
    count_units,
    importance,
    way_left,
)
from st_mm.units import UnitOwner

from .event_lines import course_line
from .run_state import RunState, averaged_models, bare_model

Owners = Mapping[str, UnitOwner]
RESERVE = 0.9  # of the time that leaves the average just long enough to follow


class WayToTarget:
    """The :class:`~st_mm.search.Course` of a running search, begun or resumed.

    Args:
        runner (Runner): The run.
        budget (Budget): The target.
        owners (Mapping[str, UnitOwner]): The owners of the units that may go.
        costs (Mapping[str, Cost]): What units cost, by resource; more than the target has do no
            harm.
        threshold (float): Largest importance at which a unit is dead.
        now (Mapping[str, float]): What the network costs now, by resource.

    Raises:
        ValueError: If the network is smaller than the target, or stays larger without any unit.
    """

    def __init__(
        self,
        runner: Runner,
        budget: Budget,
        owners: Owners,
        costs: Mapping[str, Cost],
        threshold: float,
        now: Mapping[str, float],
    ) -> None:
        self._costs, self._threshold = costs, threshold
        events = RunState.of(runner).ticket.events
        last = next((e for e in reversed(events) if e['kind'] == 'search' and 'pull' in e), None)
        start = {name: last[f'start_{name}'] for name in now} if last else dict(now)
        limits = budget.limits(start)
        savings = self._savings(owners)
        most = savings.most()
        for name, limit in limits.items():
            if (floor := now[name] - most[name]) > limit * (1 + REACHED):
                raise ValueError(
                    f'SearchHook cannot reach its target of {name}={budget.target[name]!r}, '
                    f'{limit:,.6g}: {floor:,.6g} stay in {type(bare_model(runner)).__name__} '
                    'without all units that may go'
                )
        names = dict(first='start_way', pull='pull', left='way')  # of the course, in the record
        before = {name: last[kept] for name, kept in names.items()} if last else {}
        self._course = Course(limits, start, line=_line(runner, threshold), **before)
        self._excess = self._course.excess(now)

    @property
    def pull(self) -> float:
        """What rho is multiplied by."""
        return self._course.pull

    @property
    def met(self) -> bool:
        """Whether the target is met, so that the penalty rests."""
        return not self._course.pull

    def allowed(self, owners: Owners, dead: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Choose the dead units (bool per owner) that go without leading beyond the target."""
        now = {name: cost.total() for name, cost in self._costs.items()}
        return self._course.allowed(self._savings(owners), dead, now)

    def advance(
        self,
        owners: Owners,
        now: Mapping[str, float],
        done: float,
        interval: float,
        warmup: float,
        total: float,
    ) -> None:
        """Choose the pull until the next step, after this one; ``now`` is what is left."""
        course = self._course
        savings = self._savings(owners)
        left = way_left(course.limits, savings, now, self._threshold)
        course.advance(now, left, done, interval, warmup, total)
        self._excess = course.excess(now)

    def longest(
        self, wrapper: OptimWrapper, owners: Owners, steps: int
    ) -> dict[str, tuple[float | Tensor, float]]:
        """Compute how far the penalty may take the scales in one step, by owner.

        With the strongest pull it takes all iterations between two search steps to bring a scale of
        1 to zero, and no scale goes through zero: ``|r|`` and ``1 / steps`` times the gradient that
        SGD makes a step of 1 of, from :class:`~st_mm.search.PenaltyGradient`. An optimizer that
        normalizes gradients needs no limit, since its learning rate is one; near zero, a limit
        would leave less than the gradient of the task.

        Args:
            wrapper (OptimWrapper): It has the learning rate, and scales the gradients.
            owners (Mapping[str, UnitOwner]): The owners that take part.
            steps (int): Iterations between two search steps.
        """
        if not proportional(wrapper.optimizer):
            return {}
        # anew each time: a step of the search for a compiled model replaces the groups
        groups = {p: group for group in wrapper.optimizer.param_groups for p in group['params']}
        scaler = getattr(wrapper, 'loss_scaler', None)
        found: dict[str, tuple[float | Tensor, float]] = {}
        for name, owner in owners.items():
            scale = owner.unit_bn.weight
            group = groups[scale]
            if group['lr']:
                inertia = group.get('momentum', 0)  # ASGD has none
                whole = wrapper.scale_loss((1 - inertia) / group['lr'])
                if scaler:
                    whole = scaler.scale(scale.new_full((), whole))
                found[name] = whole, 1 / steps
        return found

    def figures(self) -> dict[str, float]:
        """What the record has to keep for a resume."""
        start = {f'start_{name}': value for name, value in self._course.start.items()}
        return dict(pull=self.pull, way=self._course.left, start_way=self._course.first, **start)

    def line(self) -> str:
        """Say where the search is, as the end of a line of the log."""
        return course_line(self._excess, self.pull, self._course.limits)

    def arrive(self, runner: Runner, owners: Owners) -> None:
        """Say why the last step has not reached the target, if so; it judges these owners."""
        if self._excess <= REACHED:
            return
        scores = [importance(owner) for owner in owners.values()]
        least = float(torch.cat(scores).min()) if scores else float('nan')
        runner.logger.warning(
            f'the search ends {100 * self._excess:.1f} % above its target: '
            f'{count_units(owners):,} units are left, the least important one with a scale of '
            f'{least:.2g}, while those of at most threshold={self._threshold:g} go; rho was '
            f'multiplied by {self.pull:.3g} in the end. Train longer, search more often '
            '(interval), or raise rho or threshold'
        )

    def _savings(self, owners: Owners) -> Savings:
        return Savings(owners, self._costs)


def _line(runner: Runner, threshold: float) -> float:
    """Compute the share of the training after which scales have to be small in live weights."""
    averages, end = averaged_models(runner), int(runner.max_iters)
    times: list[int] = [last_zero(average, end, threshold) for average in averages]
    return min([ON_THE_LINE, *(RESERVE * time / end for time in times)])
