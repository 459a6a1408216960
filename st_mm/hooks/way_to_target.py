"""How a search comes to its target: what it asks of the running network, and what it says."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from mmengine.hooks import EMAHook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from st_mm.optim import last_zero, proportional, still_there, way_of_gradient
from st_mm.search import (
    ON_THE_LINE,
    REACHED,
    STRONGEST,
    Budget,
    Cost,
    Course,
    Limit,
    Savings,
    count_units,
    way_left,
)
from st_mm.units import UnitOwner

from .event_lines import course_line
from .run_state import Moment, RunState, averaged_models, bare_model, optim_wrapper

Owners = Mapping[str, UnitOwner]
Event = Mapping[str, Any]  # of the record
TARGET, START = 'target', 'start_'  # its event, and what its figures at the start begin with
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
        ValueError: If the network is smaller than the target, or stays larger without any unit, or
            the average of the weights cannot follow.
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
        self._costs, self._threshold, self._now = costs, threshold, now
        events = RunState.of(runner).ticket.events
        start = _start(events, budget, now)
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
        _check_averages(runner, way_left(limits, savings, now, threshold) + threshold, threshold)
        steps = _steps_towards(limits, events)
        last = next((e for e in reversed(steps) if e['kind'] == 'search' and 'pull' in e), None)
        names = dict(first='start_way', pull='pull', left='way')  # of the course, in the record
        before = {name: last[kept] for name, kept in names.items()} if last else {}
        self._course = Course(limits, start, line=_line(runner, threshold), **before)
        self._excess = self._course.excess(now)
        self._late = ''

    def begin(self, runner: Runner, moment: Moment, interval: int, warmup: float, end: int) -> None:
        """Note the target and what the training begins with, and warn of a course that starts late.

        Args:
            runner (Runner): The run.
            moment (Moment): Now.
            interval (int): Epochs (or iterations) between two search steps.
            warmup (float): Those during which rho rises.
            end (int): Length of the training.

        Raises:
            ValueError: If rho would rise for the whole training.
        """
        state, course = RunState.of(runner), self._course
        if warmup >= end:
            raise ValueError(
                f'SearchHook chooses rho for its target once it has risen, after warmup={warmup:g} '
                f'{moment.unit}s, but the training has {end}: lower warmup, or train longer'
            )
        there = course.line * end
        first = interval * max(2, ceil(warmup / interval))  # the pace is known at the second step
        if warmup and first >= there:
            self._late = (
                f'rho is chosen from {moment.unit} {first} on (warmup={warmup:g}, '
                f'interval={interval}), and scales should be small at {there:.0f} of {end}'
                + (', so that EMAHook can follow' if course.line < ON_THE_LINE else '')
            )
            runner.logger.warning(
                f'SearchHook may miss its target: {self._late}. Lower warmup or interval, '
                'or train longer'
            )
        if aim_of(state.ticket.events) != course.limits:
            state.note(runner, moment, TARGET, _started(course.start), **course.limits)

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
        self._excess, self._now = course.excess(now), now

    def longest(self, wrapper: OptimWrapper, owners: Owners, steps: int) -> dict[str, Limit]:
        """Compute how far the penalty may take the scales in one step, by owner.

        With the strongest pull it takes all of the optimizer's steps between two of the search to
        bring a scale of 1 to zero, and no scale goes through zero. An optimizer that normalizes
        gradients needs no limit, since its learning rate is one; near zero, a limit would leave
        less than the gradient of the task.

        Args:
            wrapper (OptimWrapper): It has the learning rate, and scales the gradients.
            owners (Mapping[str, UnitOwner]): The owners that take part.
            steps (int): Batches between two search steps, of which the optimizer may need several
                for a step.
        """
        if not proportional(wrapper.optimizer):
            return {}
        # anew each time: a step of the search for a compiled model replaces the groups
        groups = {p: group for group in wrapper.optimizer.param_groups for p in group['params']}
        scaler = getattr(wrapper, 'loss_scaler', None)
        most = min(1.0, 1 / (steps * float(wrapper.scale_loss(1.0))))
        found = {}
        for name, owner in owners.items():
            scale = owner.unit_bn.weight
            # 0 at a learning rate of 0, where momentum would keep the pull for later
            whole, carried = way_of_gradient(wrapper.optimizer, scale, groups[scale])
            whole = wrapper.scale_loss(whole)
            if carried is not None:
                carried = wrapper.scale_loss(carried)
            if scaler:
                whole = scaler.scale(scale.new_full((), whole))
                carried = None if carried is None else scaler.scale(carried)
            found[name] = Limit(whole, most, carried)
        return found

    def figures(self) -> dict[str, float]:
        """What the record has to keep for a resume, beside the pull."""
        course = self._course
        return dict(way=course.left, start_way=course.first, **_started(course.start))

    def line(self) -> str:
        """Say where the search is, as the end of a line of the log."""
        return course_line(self._excess, self.pull, self._course.limits)

    def arrive(self, runner: Runner, owners: Owners, live: Owners) -> None:
        """Say why the last step has not reached the target, if so.

        Args:
            runner (Runner): The run.
            owners (Mapping[str, UnitOwner]): Those that the last step judges: of the EMA, if there
                is one.
            live (Mapping[str, UnitOwner]): The same in the live model.
        """
        if self._excess <= REACHED:
            return
        scale = self._left(owners) + self._threshold
        runner.logger.warning(
            f'the search ends {100 * self._excess:.1f} % above its target: '
            f'{count_units(owners):,} units are left, and those that have to go yet have scales of '
            f'up to {scale:.2g}, while those of at most threshold={self._threshold:g} go; rho was '
            f'multiplied by {self.pull:.3g} in the end. {self._advice(runner, owners, live)}'
        )

    def _advice(self, runner: Runner, owners: Owners, live: Owners) -> str:
        """Say what would have helped, by what has gone wrong."""
        if self._left(owners) > 0 == self._left(live):
            return (
                'The scales of the live weights are there, but EMAHook has not followed: raise its '
                'momentum, or train longer'
            )
        if self._late:
            return f'It came too late: {self._late}. Lower warmup or interval, or train longer'
        wrapper = optim_wrapper(runner)
        if self.pull >= STRONGEST and wrapper.clip_grad_kwargs and proportional(wrapper.optimizer):
            return (
                'A stronger pull would not help, since clip_grad makes it as short as it makes the '
                'gradient of the task: raise its limit, or drop it'
            )
        if self.pull >= STRONGEST:
            return (
                'A stronger pull would not help, since the steps of the optimizer are too short: '
                'train longer, or raise its learning rate or threshold'
            )
        return 'Train longer, search more often (interval), or raise rho or threshold'

    def _left(self, owners: Owners) -> float:
        """How far the last unit that has to go is from the threshold, in these weights."""
        return way_left(self._course.limits, self._savings(owners), self._now, self._threshold)

    def _savings(self, owners: Owners) -> Savings:
        return Savings(owners, self._costs)


def _started(start: Mapping[str, float]) -> dict[str, float]:
    return {f'{START}{name}': value for name, value in start.items()}


def aim_of(events: Sequence[Event]) -> dict[str, float]:
    """Read the target that a record has noted last, by resource; empty without."""
    last = next((e for e in reversed(events) if e['kind'] == TARGET), {})
    return {
        name: value
        for name, value in last.items()
        if name not in ('kind', 'unit', 't') and not name.startswith(START)
    }


def _start(
    events: Sequence[Event], budget: Budget, now: Mapping[str, float]
) -> Mapping[str, float]:
    """Find what the training began with, which is the network of now unless the record says."""
    noted = next((e for e in reversed(events) if f'{START}macs' in e), None)
    if noted is None:
        return now
    start = {name: noted[f'{START}{name}'] for name in now if f'{START}{name}' in noted}
    if missing := [name for name in budget.target if name not in start]:
        raise ValueError(
            f'target is of {missing[0]}, but the training to resume has not noted with how much of '
            f'it it began, since its cost was another one (it has noted {", ".join(start)}): '
            'resume it with its own cost and target, or begin anew with load_from and without '
            'resume'
        )
    return start


def _steps_towards(limits: Mapping[str, float], events: Sequence[Event]) -> Sequence[Event]:
    """Choose the events on the way to this target: none if the record has had another one."""
    aim = aim_of(events)
    return events if not aim or aim == limits else []


def _check_averages(runner: Runner, scale: float, threshold: float) -> None:
    """Refuse an average in which scales stay large, even if they were zero from the start."""
    for hook in runner.hooks:
        if not isinstance(hook, EMAHook) or hook.begin_iter or hook.begin_epoch:
            continue  # one that begins later starts from the weights of then
        average = hook.ema_model
        left = still_there(average, int(runner.max_iters))
        if not average.steps and left * scale > threshold:
            raise ValueError(
                'SearchHook cannot reach its target with this EMAHook: scales that have to go are '
                f'up to {scale:.3g}, and even if they were zero from the first iteration, '
                f'{left:.2g} of that would be left in the average after {runner.max_iters} '
                f'iterations ({type(average).__name__}, momentum={average.momentum:g}), while '
                f'those of at most threshold={threshold:g} go: raise momentum, train longer, or '
                'drop EMAHook'
            )


def _line(runner: Runner, threshold: float) -> float:
    """Compute the share of the training after which scales have to be small in live weights."""
    averages, end = averaged_models(runner), int(runner.max_iters)
    times: list[int] = [last_zero(average, end, threshold) for average in averages]
    return min([ON_THE_LINE, *(RESERVE * time / end for time in times)])
