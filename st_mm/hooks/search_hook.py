"""SearchHook: when units are penalized and removed."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from st_mm.arguments import integer, number, picture
from st_mm.search import (
    Budget,
    Cost,
    Macs,
    Params,
    PenaltyGradient,
    build_cost,
    check_cost,
    count_units,
    dead_units,
    input_sizes,
    penalty,
    ramp,
    relative_costs,
    saved_macs,
)
from st_mm.trainable import training_names, unit_parameters
from st_mm.units import UnitOwner, find_owners

from .event_lines import search_line
from .event_log import log_scalars
from .run_state import (
    Moment,
    RunState,
    averaged_models,
    bare_model,
    moved,
    optim_wrapper,
)
from .ticket_hook import TicketHook
from .way_to_target import WayToTarget


@HOOKS.register_module()
class SearchHook(TicketHook):
    """Search the architecture while it trains (paper Section 3.1).

    Adds ``rho(t) * sum of cost * |r|`` over the search units to the loss, with rho rising
    linearly over the first ``warmup`` epochs. Every ``interval`` epochs it removes the units whose
    importance r is at most ``threshold`` in the live weights and in the EMA; at the last epoch, in
    the EMA alone.

    Args:
        interval (int): Epochs (or iterations) between two search steps. Defaults to 10.
        rho (float): Strength of the penalty (1.8e-4 ImageNet, 1.4e-4 Cityscapes and ADE20K, 1e-6
            COCO). Defaults to 1.4e-4.
        warmup (int): Epochs (or iterations) during which rho rises. Defaults to 25.
        threshold (float): Largest importance at which a unit is dead. Defaults to 1e-3.
        min_macs_drop (float): A step that saves fewer MACs is skipped, unless it meets the target
            or is the last on the way to one. Defaults to 1e6.
        input_shape (Sequence[int]): (channels, height, width) at which MACs are counted.
            Defaults to (3, 512, 1024).
        calibration_batches (int): Batches over which BN is recalibrated after a step; 0 for not
            at all. Defaults to 10.
        target (Mapping[str, float | str], optional): Size to go to, ``dict(macs=1e9)`` or
            ``dict(macs='35%')`` of the network that the training begins with, with ``params`` and
            the cost as further resources; rho is then scaled on the way. Defaults to None.
        cost (str | Mapping): What a unit costs: ``'macs'``, ``'params'``,
            ``dict(type='latency', table='FILE.json')`` as ``tools/benchmarks/unit_latency.py``
            measures it, or a function of :data:`~st_mm.search.COSTS`. Defaults to ``'macs'``.
        by_epoch (bool): Whether time runs in epochs or in iterations. Defaults to True.

    Raises:
        ValueError: If an argument is out of its range, or the model has no search units.
    """

    priority = 40  # before EMAHook (50), which must not average what will be removed

    def __init__(
        self,
        interval: int = 10,
        rho: float = 1.4e-4,
        warmup: int = 25,
        threshold: float = 1e-3,
        min_macs_drop: float = 1e6,
        input_shape: Sequence[int] = (3, 512, 1024),
        calibration_batches: int = 10,
        target: Mapping[str, float | str] | None = None,
        cost: str | Mapping[str, Any] = 'macs',
        by_epoch: bool = True,
    ) -> None:
        super().__init__(by_epoch)
        self.interval = integer('interval', interval, 1)
        self.rho = number('rho', rho, least=0)
        self.warmup = number('warmup', warmup, least=0)
        self.threshold = number('threshold', threshold, least=0)
        self.min_macs_drop = number('min_macs_drop', min_macs_drop, least=0)
        self.input_shape = picture('input_shape', input_shape)
        self.calibration_batches = integer('calibration_batches', calibration_batches, 0)
        self.cost_config = check_cost(cost)
        kinds = dict.fromkeys(['macs', 'params', self.cost_config['type']])
        self.budget = None if target is None else Budget(target, list(kinds))
        if self.budget and not self.rho:
            raise ValueError('target needs a rho above 0, which it multiplies')
        self.way: WayToTarget | None = None

    def config(self) -> dict[str, Any]:
        """Return the arguments of the hook, for the ticket record."""
        names = ('interval', 'rho', 'warmup', 'threshold', 'min_macs_drop', 'calibration_batches')
        arguments = {name: getattr(self, name) for name in names}
        if self.budget:
            arguments['target'] = dict(self.budget.target)
        if self.cost_config != dict(type='macs'):
            arguments['cost'] = dict(self.cost_config)
        return {**super().config(), **arguments, 'input_shape': list(self.input_shape)}

    def before_train(self, runner: Runner) -> None:
        """Find the units, compute their costs, and start the penalty."""
        super().before_train(runner)
        model = bare_model(runner)
        model.train()  # as the loop is about to do: mm's backbones freeze their stages then
        self.every_owner = find_owners(model)
        self.parameters = unit_parameters(model)
        if not self.every_owner:
            raise ValueError(
                f'SearchHook needs a model with search units, but {type(model).__name__} has '
                'none: use HRSupernet or a network of inverted residuals or bottlenecks '
                '(MobileNetV2, EfficientNet, ResNet-50, ...) as its backbone, or drop the hook '
                'from custom_hooks'
            )
        if self.interval > self.total(runner):
            runner.logger.warning(
                f'SearchHook never removes a unit: interval is {self.interval}, the training '
                f'{self.total(runner)} {"epochs" if self.by_epoch else "iterations"}'
            )
        if not self.parameters:
            raise ValueError(
                f'none of the search units of {type(model).__name__} can be removed: their '
                'parameters are shared, or a momentum encoder repeats them, which would not '
                'follow; drop SearchHook from custom_hooks'
            )
        self.sizes = input_sizes(model, self.input_shape)
        self.cost = build_cost(
            self.cost_config, model, self.every_owner, self.sizes, self.input_shape
        )
        macs, params = Macs(model, self.sizes, self.input_shape), Params(model)
        self.resources: dict[str, Cost] = {c.name: c for c in (macs, params, self.cost)}
        self.wrapper = optim_wrapper(runner)
        self.owners: dict[str, UnitOwner] = {}
        self.costs: dict[str, Tensor] = {}
        self.penalty = PenaltyGradient(self.every_owner, {})
        self._follow(runner)
        if not self.owners:
            runner.logger.warning(
                f'none of the {count_units(self.every_owner):,} search units trains now: they are '
                'searched once they do'
            )
        totals = self._totals()
        if self.budget:
            self.way = WayToTarget(
                runner,
                self.budget,
                self.owners or self.every_owner,
                self.resources,
                self.threshold,
                totals,
            )
            now, end = self.now(runner), self.total(runner)
            self.way.begin(runner, now, self.interval, self.warmup, end)
        figures = self._figures(runner, totals)
        log_scalars(runner, {f'search/{name}': value for name, value in figures.items()})

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set the strength of the penalty, scaled as this iteration's loss will be."""
        self._follow(runner)
        strength = self.wrapper.scale_loss(self._rho(runner))
        scaler = getattr(self.wrapper, 'loss_scaler', None)
        if (
            scaler and self.owners
        ):  # on the device, because reading the scale would wait for the GPU
            scale = next(iter(self.owners.values())).unit_bn.weight
            strength = scaler.scale(scale.new_full((), strength))
        self.penalty.strength = strength
        if self.way:
            self.penalty.longest = self.way.longest(
                self.wrapper, self.owners, self._interval(runner)
            )

    def step(self, runner: Runner, moment: Moment) -> None:
        """Remove the dead units, if a step is due and saves enough."""
        if moment.t % self.interval:
            return
        self._follow(runner)
        end = self.total(runner)
        last = moment.t + self.interval > end
        dead, saved, least = self._chosen(self._dead(runner, moment.t == end), last)
        count = sum(int(mask.sum()) for mask in dead.values())
        state = RunState.of(runner)
        taken = count > 0 and saved >= least
        if taken:
            state.shrink(runner, dead, moment)
            self.reprice()
            state.calibration_batches = max(state.calibration_batches, self.calibration_batches)
        totals = self._totals()
        if self.way:
            self.way.advance(self.owners, totals, moment.t, self.interval, self.warmup, end)
        figures = self._figures(runner, totals)
        kept = self.way.figures() if self.way else {}
        state.note(runner, moment, 'search', kept, removed=count if taken else 0, **figures)
        name = self.cost.name
        line = search_line(
            moment,
            count,
            saved,
            least,
            figures['units'],
            figures['macs'],
            None if name == 'macs' else (name, figures[name]),
        )
        runner.logger.info(line + (self.way.line() if self.way else ''))
        if self.way and last:
            self.way.arrive(runner, self._final(runner), self.owners)

    def reprice(self) -> None:
        """Compute the costs anew, after units have gone."""
        self.costs = relative_costs(self.cost, self.owners)
        self.penalty.update(self.costs)

    def _dead(self, runner: Runner, ends: bool) -> dict[str, Tensor]:
        """Mark the units dead in live weights and EMA; at the end of training, in the EMA."""
        if ends:
            return dead_units(self._final(runner), self.threshold)
        averages = [find_owners(ema.module) for ema in averaged_models(runner)]
        return dead_units(self.owners, self.threshold, *averages)

    def _final(self, runner: Runner) -> dict[str, UnitOwner]:
        """The owners in the weights that the training ends with: those of the EMA, if there is."""
        averages = averaged_models(runner)
        owners = find_owners(averages[0].module) if averages else self.owners
        return {name: owners[name] for name in self.owners}

    def _follow(self, runner: Runner) -> None:
        """Let the units take part that train now, as a whole, and no others."""
        names = training_names(self.parameters, moved(runner))
        if names != self.owners.keys():
            self.owners = {n: owner for n, owner in self.every_owner.items() if n in names}
            self.reprice()

    def _chosen(
        self, dead: dict[str, Tensor], last: bool
    ) -> tuple[dict[str, Tensor], float, float]:
        """Choose which dead units go, their MACs, and how many MACs make a step worth it.

        On the way to a target any do, if this step meets it or is the last one.
        """
        if self.way:
            dead = self.way.allowed(self.owners, dead)
        saved = saved_macs(self.owners, dead, self.sizes)
        return dead, saved, 0 if self.way and (last or self.way.met) else self.min_macs_drop

    def _rho(self, runner: Runner) -> float:
        done = runner.iter
        if self.by_epoch:
            done /= len(runner.train_dataloader)
        pull = self.way.pull if self.way else 1.0
        return self.rho * pull * ramp(done, self.warmup)

    def _interval(self, runner: Runner) -> int:
        """Iterations between two steps."""
        steps: int = self.interval
        return steps * len(runner.train_dataloader) if self.by_epoch else steps

    def _totals(self) -> dict[str, float]:
        """Count what the network costs now, by resource: counting MACs runs it on shapes."""
        return {name: cost.total() for name, cost in self.resources.items()}

    def _figures(self, runner: Runner, totals: dict[str, float]) -> dict[str, float]:
        """Compute what the log and the record say; costs have no other name of these."""
        names = dict.fromkeys(
            ['macs', self.cost.name, *(self.budget.target if self.budget else [])]
        )
        pull = dict(pull=self.way.pull) if self.way else {}
        return dict(
            units=count_units(self.owners),
            **{name: totals[name] for name in names},
            penalty=penalty(self.owners, self.costs, self._rho(runner)).item(),
            **pull,
        )
