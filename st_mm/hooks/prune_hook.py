"""PruneHook: when weights are masked."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from st_mm.arguments import integer
from st_mm.private import resumed
from st_mm.prune import NM, SCHEDULES, Criterion, Schedule

from .evidence import evidence_at
from .mask_hook import MaskHook
from .run_state import Moment, RunState, bare_model
from .search_hook import SearchHook


@HOOKS.register_module()
class PruneHook(MaskHook):
    """Prune the weights of any model while it trains, or before.

    When the schedule says so, the weights of the lowest scores are masked, to the schedule's ratio.
    Masked weights are exact zeros after every optimizer step, in the live weights and in the EMA.
    If units are removed while masks hold, the masks are fitted again to the ratio.

    Args:
        schedule (dict): When and how much: ``type`` (``Progressive``, ``OneShot``, ``Cubic``,
            ``Constant``) and its arguments, see :mod:`st_mm.prune.schedule`. Time 0 is the
            start of training, after ``load_from``.
        score (str | dict): Criterion, a name from :mod:`st_mm.prune.scores` or a dict of ``type``
            and options: ``batches`` (of training data, 10), ``rounds`` (how often to score and
            mask until the ratio is reached, 1), and those of the function. Defaults to
            ``'magnitude'``.
        scope (str): ``'global'``, ``'layer'`` or ``'erk'``, see :func:`st_mm.prune.choose`.
            Defaults to ``'global'``.
        rules (Sequence[dict]): Exceptions by weight name, see :class:`st_mm.prune.Rule`. Defaults
            to none.
        pattern (str | dict, optional): Weights that are masked together: ``'2:4'``,
            ``dict(type='ChannelBlock', size=4)``. Weights that do not fit it stay dense. Defaults
            to None: each by itself.
        skip (Sequence[str]): Shell patterns of weight names that stay dense. The task's
            classifier always does. Defaults to none.
        calibration_batches (int): Batches over which BN is recalibrated after a prune; 0 for not
            at all. Defaults to 10.
        by_epoch (bool): Whether time runs in epochs or in iterations. Defaults to True.

    Raises:
        ValueError: If an argument is out of its range, the model has no prunable weights, or
            the training is too short for the ratio.
    """

    def __init__(
        self,
        schedule: Mapping[str, Any],
        score: str | Mapping[str, Any] = 'magnitude',
        scope: str = 'global',
        rules: Sequence[Mapping[str, Any]] = (),
        pattern: str | Mapping[str, Any] | None = None,
        skip: Sequence[str] = (),
        calibration_batches: int = 10,
        by_epoch: bool = True,
    ) -> None:
        super().__init__(skip, by_epoch)
        self.schedule: Schedule = SCHEDULES.build(schedule)
        self.criterion = Criterion.build(score, scope, rules, pattern)
        self.criterion.check(self.schedule.ratio)
        self.calibration_batches = integer('calibration_batches', calibration_batches, 0)

    def config(self) -> dict[str, Any]:
        """Return the arguments of the hook, for the ticket record."""
        schedule = dict(type=type(self.schedule).__name__, **asdict(self.schedule))
        arguments = dict(schedule=schedule, skip=list(self.skip), **self.criterion.config())
        return {**super().config(), **arguments}

    def fitting(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Collect the weights that may be masked: those that the pattern fits."""
        return self.criterion.fitting(weights)

    def last_prune(self, runner: Runner) -> int | None:
        """Return the time of the last prune of this training."""
        return self.schedule.last(self.total(runner))

    def fill(self, runner: Runner, state: RunState) -> None:
        """Take the masks of the run that is resumed; else prune if a prune is due at time 0."""
        self._check_schedule(runner)
        weights = self.own(state.masks.known)
        self.criterion.rehearse(bare_model(runner), weights, self.schedule.ratio)
        if resumed(runner):
            state.masks.load(self.own(state.ticket.masks), state.latent, state.before)
        elif self.schedule.due(0):
            self._prune(runner, Moment('epoch' if self.by_epoch else 'iter', 0, 0), 'prune')

    def _check_schedule(self, runner: Runner) -> None:
        """Refuse a schedule that cannot reach the ratio; warn if nothing trains sparse."""
        searches = [hook for hook in runner.hooks if isinstance(hook, SearchHook)]
        if any(hook.by_epoch != self.by_epoch for hook in searches):
            raise ValueError(f'SearchHook and {type(self).__name__} must agree on by_epoch')
        if searches and isinstance(self.criterion.pattern, NM):
            raise ValueError(
                f'the groups of {self.criterion.pattern} fall apart when SearchHook removes '
                'channels: search first, and prune the ticket in a run of its own'
            )
        total, last = self.total(runner), self.last_prune(runner)
        reached = self.schedule.ratio_at(total)
        if reached < self.schedule.ratio:
            raise ValueError(
                f'{type(self).__name__} reaches a ratio of {reached:g} in a training of {total} '
                f'{"epochs" if self.by_epoch else "iterations"}, not {self.schedule.ratio:g}: '
                f'change its schedule, {self.schedule}'
            )
        if last == total > 0:  # without any training there is nothing to warn of
            runner.logger.warning(
                f'the last prune falls on the end of training ({total}): the ticket never trains '
                'at its final sparsity; let the schedule end at about 80 % of the training'
            )

    def step(self, runner: Runner, moment: Moment) -> None:
        """Prune if it is time; fit the masks again where what they cover has changed.

        Units go in a search, and weights begin or stop to train; nothing is fitted from a
        reactivation until the next prune.
        """
        state = RunState.of(runner)
        changed = self.follow(runner)
        own = self.own(state.masks.keep)
        searched = bool(own) and state.searched == moment and state.freed != moment
        if self.schedule.due(moment.t):
            self._prune(runner, moment, 'prune')
            state.pruned = moment
        elif searched or (changed and state.ticket.masks_hold()):
            self._prune(runner, moment, 'refit')

    def _prune(self, runner: Runner, moment: Moment, kind: str) -> None:
        state = RunState.of(runner)
        ratio = self.schedule.ratio_at(moment.t)
        masks = self.criterion.choose(
            self.own(state.masks.weights),
            evidence_at(runner, moment, self.criterion.batches),
            ratio,
            share=ratio / self.schedule.ratio,
            masked=self.own(state.masks.masked()),
        )
        change = state.masks.update(masks)
        state.calibration_batches = max(state.calibration_batches, self.calibration_batches)
        density = state.masks.density()
        state.note(runner, moment, kind, ratio=ratio, density=density, **change._asdict())
        layers = {f'density/{name}': each for name, each in state.masks.densities().items()}
        runner.visualizer.add_scalars(layers, step=moment.iteration)
        runner.logger.info(
            f'{"prune" if kind == "prune" else "masks fitted again"} at {moment} to a ratio of '
            f'{ratio:g}: density {density:.6f}, {change.flips:,} flips, IoU {change.iou:.3f}'
        )
