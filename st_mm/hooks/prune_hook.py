"""ProgressivePruneHook: when weights are masked."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mmengine.registry import HOOKS
from mmengine.runner import Runner

from st_mm.prune import SCORES, Progressive, lowest

from .mask_hook import MaskHook
from .run_state import Moment, RunState
from .ticket_hook import check_batches


@HOOKS.register_module()
class ProgressivePruneHook(MaskHook):
    """Prune the weights of any model while it trains (SuperTickets, Section 3.2).

    Every ``interval`` epochs the lowest scores of the whole network are masked, to the ratio
    ``min(ratio, step * number of prunes)``; masked weights stay exact zeros through every
    optimizer step, in the live weights and in the EMA. If units are removed while masks hold, the
    masks are fitted again to the ratio.

    Args:
        ratio (float): Share of the prunable weights that is masked in the end, in (0, 1).
        interval (int): Epochs (or iterations) between two prunes. Defaults to 25.
        step (float): Share that each prune adds; 1 for the whole ratio at once.
            Defaults to 0.1.
        begin (int): Time from which intervals are counted. Defaults to 0.
        end (int, optional): Last time at which a prune may happen. Defaults to None: no end.
        score (str): Criterion, ``'magnitude'`` or ``'random'``. Defaults to ``'magnitude'``.
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
        ratio: float,
        interval: int = 25,
        step: float = 0.1,
        begin: int = 0,
        end: int | None = None,
        score: str = 'magnitude',
        skip: Sequence[str] = (),
        calibration_batches: int = 10,
        by_epoch: bool = True,
    ) -> None:
        super().__init__(skip, by_epoch)
        if score not in SCORES:
            raise ValueError(f"score must be one of {', '.join(SCORES)}, got '{score}'")
        check_batches(calibration_batches)
        self.schedule = Progressive(ratio, interval, step, begin, end)
        self.score = score
        self.calibration_batches = calibration_batches

    def config(self) -> dict[str, Any]:
        """Arguments of the hook, for the ticket record."""
        arguments = dict(score=self.score, skip=list(self.skip))
        return {**super().config(), **asdict(self.schedule), **arguments}

    def last_prune(self, runner: Runner) -> int | None:
        """Time of the last prune of this training."""
        return self.schedule.last(self.total(runner))

    def fill(self, runner: Runner, state: RunState) -> None:
        """Leave all free, or take over the masks of the run that is resumed."""
        self._check_schedule(runner)
        if runner._resume and state.ticket.masks:
            state.masks.load(state.ticket.masks, state.latent)

    def _check_schedule(self, runner: Runner) -> None:
        """Refuse a training too short for the ratio; warn where nothing trains sparse."""
        total, last = self.total(runner), self.last_prune(runner)
        reached = self.schedule.ratio_at(total)
        if reached < self.schedule.ratio:
            raise ValueError(
                f'ProgressivePruneHook reaches a ratio of {reached:g} in a training of {total} '
                f'{"epochs" if self.by_epoch else "iterations"}, not {self.schedule.ratio:g}: '
                'shorten interval, enlarge step, or move begin and end'
            )
        if last == total:
            runner.logger.warning(
                f'the last prune falls on the end of training ({total}): the ticket never trains '
                'at its final sparsity; set end to about 80 % of the training'
            )

    def step(self, runner: Runner, moment: Moment) -> None:
        """Prune if it is time; fit the masks again if units went while masks hold."""
        state = RunState.of(runner)
        due = self.schedule.due(moment.t)
        holding = bool(state.masks.keep) and state.freed != moment
        if not due and not (holding and state.searched == moment):
            return
        ratio = self.schedule.ratio_at(moment.t)
        scores = SCORES[self.score](state.masks.weights)
        state.masks.update(lowest(state.masks.rank(scores), ratio))
        state.calibration_batches = max(state.calibration_batches, self.calibration_batches)
        density = state.masks.density()
        if due:
            state.pruned = moment
        state.note(runner, moment, 'prune' if due else 'refit', ratio=ratio, density=density)
        runner.logger.info(
            f'{"prune" if due else "masks fitted again"} at {moment} to a ratio of {ratio:g}: '
            f'density {density:.6f}'
        )
