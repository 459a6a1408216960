"""PruneHook: when weights are masked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from st_mm.arguments import choice, flag, integer
from st_mm.private import has_loaded, resumed
from st_mm.prune import NM, SCHEDULES, Criterion, Schedule, StraightThrough

from .event_lines import prune_line, refit_line
from .event_log import log_event, log_scalars
from .evidence import evidence_at
from .learning import Learning
from .mask_hook import MaskHook
from .ratios import any_freed, held_ratio, inherited_ratio, reaped, share_masked
from .run_state import Moment, RunState, bare_model
from .search_hook import SearchHook
from .ticket_hook import check_same_time
from .unfinished import judge_at_target, warn_of_best

A_TICKET = 0.01  # share of exact zeros that makes a ticket of a checkpoint without a record


@HOOKS.register_module()
class PruneHook(MaskHook):
    """Prune the weights of any model while it trains, or before.

    When the schedule says so, the weights of the lowest scores are masked, to the schedule's ratio.
    Masked weights are exact zeros after every optimizer step, in the live weights and in the EMA.
    If units are removed while masks hold, the masks are fitted again to the ratio. A ratio is the
    share of the weights that take part at its time: what does not train is not counted.

    Args:
        schedule (dict): When and how much: ``type`` (``Progressive``, ``OneShot``, ``Cubic``,
            ``Constant``) and its arguments, see :mod:`st_mm.prune.schedule`. Time 0 is the
            start of training, after ``load_from``.
        score (str | dict): Criterion, a name from :mod:`st_mm.prune.scores` or a dict of ``type``
            and options: ``batches`` (of training data, 10), ``rounds`` (how often to score and
            mask until the ratio is reached, 1), and those of the function. Defaults to
            ``'magnitude'``.
        scope (str): ``'global'``, ``'sigma'``, ``'layer'`` or ``'erk'``, see
            :func:`st_mm.prune.choose`. Defaults to ``'global'``.
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
        best_at_target (bool): Whether ``save_best`` and early stopping leave out validations before
            the weights have the schedule's ratio. Defaults to False.
        straight_through (str, optional): ``'hard'`` lets masked weights learn at every step, and
            each prune chooses among all weights anew; ``'soft'`` takes the size of the largest
            masked weight off the kept ones too, see :class:`st_mm.prune.StraightThrough`. Defaults
            to None: masked weights keep their values until they are freed.

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
        best_at_target: bool = False,
        straight_through: str | None = None,
    ) -> None:
        super().__init__(skip, by_epoch)
        self.best_at_target = flag('best_at_target', best_at_target)
        self.schedule: Schedule = SCHEDULES.build(schedule)
        self.criterion = Criterion.build(score, scope, rules, pattern)
        self.criterion.check(self.schedule.ratio)
        self.calibration_batches = integer('calibration_batches', calibration_batches, 0)
        if straight_through is not None:
            choice('straight_through', straight_through, ('hard', 'soft'))
        self.straight_through = straight_through
        self.learning: Learning | None = None
        self._inherited = 0.0  # ratio of the ticket that training starts from

    def config(self) -> dict[str, Any]:
        """Return the arguments of the hook, for the ticket record."""
        schedule = dict(type=type(self.schedule).__name__, **asdict(self.schedule))
        arguments = dict(schedule=schedule, skip=list(self.skip), **self.criterion.config())
        if self.straight_through:
            arguments['straight_through'] = self.straight_through
        return {**super().config(), **arguments}

    def fitting(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Collect the weights that may be masked: those that the pattern fits."""
        return self.criterion.fitting(weights)

    def last_prune(self, runner: Runner) -> int | None:
        """Return the time of the last prune of this training."""
        return self.schedule.last(self.total(runner))

    def fill(self, runner: Runner, state: RunState) -> None:
        """Take over the masks there are, and bring them to the ratio of the time."""
        self._check_schedule(runner)
        if self.best_at_target:
            judge_at_target(runner, lambda: self._at_target(state))
        else:
            warn_of_best(runner, self.last_prune(runner), self.by_epoch)
        weights = self.own(state.masks.known)
        moment = self.now(runner)
        self.criterion.rehearse(evidence_at(runner, moment, 1), weights, self.schedule.ratio)
        if resumed(runner):
            state.masks.load(self.own(state.ticket.masks), state.latent, state.before)
        else:
            self._take_over(runner, state)
        if self.straight_through:
            soft = self.straight_through == 'soft'
            if soft and resumed(runner):
                state.masks.thresholds |= self.own(state.thresholds)
            self.learning = Learning(runner, StraightThrough(state.masks, self.names, soft))
        if self.own(state.masks.keep) and not any('ratio' in e for e in state.ticket.events):
            self._inherit(runner, state, moment)
        self._inherited = inherited_ratio(state) or 0.0
        if resumed(runner):
            self._catch_up(runner, state, moment)
        elif self.schedule.due(0):
            self._prune(runner, moment, 'prune')

    def _take_over(self, runner: Runner, state: RunState) -> None:
        """Hold the masks of the ticket that training starts from."""
        model, weights = bare_model(runner), self.own(state.masks.known)
        shapes = {name: list(p.shape) for name, p in model.named_parameters()}
        ours = {
            name: mask
            for name, mask in state.ticket.masks.items()  # but those of another task's head
            if shapes.get(name) == list(mask['shape']) and name not in state.fixed
        }
        if free := sorted(ours.keys() - weights.keys()):
            raise ValueError(
                f"the ticket has masked '{free[0]}' (and {len(free) - 1} more), which this config "
                'does not prune, so that its zeros would be trained: drop it from skip, choose a '
                'pattern that fits it, or retrain the ticket with FixedMaskHook'
            )
        if ours:
            state.masks.load(ours, None)
        elif has_loaded(runner) and not state.ticket.masks:
            keep = {name: w != 0 for name, w in weights.items() if w.any() and not w.all()}
            zeros = sum(int((~stays).sum()) for stays in keep.values())
            if zeros >= A_TICKET * sum(w.numel() for w in weights.values()):
                state.masks.update(keep)

    def _inherit(self, runner: Runner, state: RunState, moment: Moment) -> None:
        """Note the masks that no schedule has made: no prune goes below their ratio."""
        ratio = self.share_masked(state)
        if ratio > self.schedule.ratio and not math.isclose(
            ratio, self.schedule.ratio, abs_tol=1e-4
        ):
            raise ValueError(
                f'the ticket that training starts from has {ratio:.4f} of the weights that train '
                f'masked, more than the ratio {self.schedule.ratio:g} that {type(self).__name__} '
                'is to reach: give it a larger ratio, or retrain the ticket with FixedMaskHook'
            )
        self._note_inherited(runner, state, moment)
        runner.logger.info(
            'the masks of the ticket that training starts from are held: density '
            f'{state.masks.density():.6f}'
        )

    def _note_inherited(self, runner: Runner, state: RunState, moment: Moment) -> None:
        ratio, density = self.share_masked(state), state.masks.density()
        state.note(runner, moment, 'inherit', ratio=ratio, density=density)
        self._inherited = ratio

    def _catch_up(self, runner: Runner, state: RunState, moment: Moment) -> None:
        """Bring a resumed training to the ratio of its time, if it has another one."""
        held = held_ratio(state)
        if self._differs(state, moment, held):
            ratio = self._ratio_at(state, moment.t)
            runner.logger.info(
                f'resumed at {moment} with a ratio of {held:g}, where the schedule says {ratio:g}'
            )
            self._prune(runner, moment, 'prune')

    def _differs(self, state: RunState, moment: Moment, held: float) -> bool:
        """Whether a time asks for another ratio than masks have; those that nest only grow."""
        ratio = self._ratio_at(state, moment.t)
        return not math.isclose(held, ratio, abs_tol=1e-9) and (held < ratio or not self._nests)

    @property
    def _nests(self) -> bool:
        """Whether what the ticket has masked stays so, whatever the scope or the pattern."""
        return self._inherited > 0 and not self.learning

    def _at_target(self, state: RunState) -> bool:
        """Whether the masks of the whole ratio hold now, and nothing has been freed since."""
        last = next((e for e in reversed(state.ticket.events) if 'ratio' in e), None)
        whole = reaped(state, max(self.schedule.ratio, self._inherited))
        if last is None or last['ratio'] < min(self.schedule.ratio, whole):
            return False
        return bool(state.masks.density() <= last['density'] + 1e-9)

    def taking_part(self, state: RunState) -> dict[str, Tensor]:
        """Those of this hook's weights that train now: the ones that a ratio counts."""
        return self.own(state.masks.weights)

    def share_masked(self, state: RunState) -> float:
        """Share of what takes part that is masked, as a prune counts it."""
        return share_masked(self.taking_part(state), state.masks.keep)

    def scheduled(self, t: int) -> float:
        """Ratio that a time asks for: that of the schedule, or of the ticket if it is larger."""
        return max(self.schedule.ratio_at(t), self._inherited)

    def _ratio_at(self, state: RunState, t: int) -> float:
        """Ratio that holds at a time; what stays after a reaping has one of its own."""
        return reaped(state, self.scheduled(t))

    def _check_schedule(self, runner: Runner) -> None:
        """Refuse a schedule that cannot reach the ratio; warn if nothing trains sparse."""
        searches = [hook for hook in runner.hooks if isinstance(hook, SearchHook)]
        check_same_time(*searches, self)
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
        changed = self._follow(runner, state, moment)
        own = self.own(state.masks.keep)
        searched = bool(own) and state.searched == moment and state.freed != moment
        if self.schedule.due(moment.t):
            if (
                self.learning
                or self.schedule.ratio_at(moment.t) > self._inherited
                or self.share_masked(state) < self._inherited
            ):
                self._prune(runner, moment, 'prune')
            state.pruned = moment
        elif searched or changed:
            self._prune(runner, moment, 'refit')

    def _follow(self, runner: Runner, state: RunState, moment: Moment) -> bool:
        """Follow what trains; whether masks that hold are to be fitted to what takes part now.

        Masks of a ticket are measured anew, and stay as they are if the time asks for no more.
        """
        changed = self.follow(runner)
        if not changed or inherited_ratio(state) is None:
            return changed and state.ticket.masks_hold()
        if any_freed(state) or not self.taking_part(state):
            return False
        self._note_inherited(runner, state, moment)
        return self._differs(state, moment, self._inherited)

    def _prune(self, runner: Runner, moment: Moment, kind: str) -> None:
        state = RunState.of(runner)
        ratio = self._ratio_at(state, moment.t)
        if self.learning:
            self.learning.through.release()  # every weight competes, by what it has learned
        weights = self.taking_part(state)
        masks = weights and self.criterion.choose(
            weights,
            evidence_at(runner, moment, self.criterion.batches),
            ratio,
            share=min(1.0, self.scheduled(moment.t) / self.schedule.ratio),
            masked=self.own(state.masks.masked()),
        )
        if self._nests:
            masks = {
                name: stays & (state.masks.keep[name] != 0) if name in state.masks.keep else stays
                for name, stays in masks.items()
            }
        change = state.masks.update(masks)
        if self._nests:
            ratio = max(ratio, self.share_masked(state))
        if self.learning:
            self.learning.through.hold()
        state.calibration_batches = max(state.calibration_batches, self.calibration_batches)
        density = state.masks.density()
        log_scalars(runner, {'prune/density': density})  # of a refit too: one curve of the density
        state.note(
            runner, moment, kind, ratio=ratio, density=density, flips=change.flips, iou=change.iou
        )
        layers = {f'density/{name}': each for name, each in state.masks.densities().items()}
        log_event(runner, layers, moment.iteration)
        line = prune_line if kind == 'prune' else refit_line
        runner.logger.info(line(moment, ratio, density, *change))
