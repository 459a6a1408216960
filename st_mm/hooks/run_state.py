"""What the hooks of one run share: the ticket so far, its masks, and the latest events."""

import copy
import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, cast
from weakref import WeakKeyDictionary

import torch
from mmengine.hooks import EMAHook
from mmengine.model import BaseAveragedModel, BaseTTAModel, is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from st_mm.private import compile_step, refresh_average, wrap_anew
from st_mm.prune import Masks
from st_mm.search import Cut, shrink
from st_mm.ticket import LATENT as LATENT
from st_mm.ticket import THRESHOLDS as THRESHOLDS
from st_mm.ticket import Ticket
from st_mm.trainable import optimized
from st_mm.transfer import Carried, carried
from st_mm.units.loading import take_widths

from .event_log import log_event, log_scalars

# entry of a checkpoint that only a resumed training needs
BEFORE = 'masks_before'  # masks of the last prune, even if weights were freed later
RESTING = 'masks_resting'  # names of the weights that took no part when it was saved


class Moment(NamedTuple):
    """A point of training: so many epochs or iterations are done."""

    unit: str  # 'epoch' or 'iter'
    t: int
    iteration: int  # iterations done

    def __str__(self) -> str:
        return f'{self.unit} {self.t}'


class RunState:
    """State shared by the hooks of one :class:`Runner`.

    Attributes:
        ticket (Ticket): The record so far; empty until a checkpoint or the training has one.
        latent (list, optional): Latent weights of the loaded checkpoint.
        before (dict, optional): Masks of its last prune.
        thresholds (dict[str, float]): Thresholds of its soft masks.
        rested (list[str], optional): Names of the weights that took no part in it.
        masks (Masks): Masks of the training; empty without a pruning hook.
        shared (frozenset[str], optional): Names of the tensors that came with the ticket; None if
            the whole model did.
        fixed (frozenset[str]): Names of the weights whose masks never change.
        searched (Moment | None): The last search step that removed units.
        freed (Moment | None): The last reactivation.
        pruned (Moment | None): The last prune.
        calibration_batches (int): Batches for the recalibration after this moment's events.
        rehearsed (bool): Whether a recalibration has been tried out.
        started (bool): Whether training has begun.
    """

    _of_runner: ClassVar['WeakKeyDictionary[Runner, RunState]'] = WeakKeyDictionary()

    def __init__(self) -> None:
        self.ticket = Ticket()
        self.latent: list[dict[str, Tensor]] | None = None
        self.before: dict[str, Any] | None = None
        self.thresholds: dict[str, float] = {}
        self.rested: list[str] | None = None
        self.masks = Masks({})
        self.shared: frozenset[str] | None = None
        self.fixed: frozenset[str] = frozenset()
        self.searched: Moment | None = None
        self.freed: Moment | None = None
        self.pruned: Moment | None = None
        self.calibration_batches = 0
        self.rehearsed = False
        self.started = False

    @classmethod
    def of(cls, runner: Runner) -> 'RunState':
        """Return the state of a runner; the first call makes it."""
        if runner not in cls._of_runner:
            cls._of_runner[runner] = cls()
        return cls._of_runner[runner]

    def start(self, model: nn.Module, resumed: bool) -> Ticket:
        """Begin the record, or continue that of the loaded checkpoint.

        Args:
            model (nn.Module): The live model.
            resumed (bool): Whether the training continues too; then its events stay in the record.

        Raises:
            ValueError: If the loaded record contradicts the model.
        """
        if not self.ticket.versions:
            if known := carried(model):
                self.take(known)
            else:
                self.ticket = Ticket.of_supernet(model)
        self.ticket.check(model)
        if not resumed and not self.started:
            self.ticket.events, self.ticket.config = [], {}
        self.started = True
        return self.ticket

    def take(self, known: Carried) -> None:
        """Go on from what the model has taken from a ticket."""
        self.ticket = copy.deepcopy(known.ticket)
        self.shared, self.latent = known.shared, known.latent

    def shrink(self, runner: Runner, dead: dict[str, Tensor], moment: Moment) -> dict[str, Cut]:
        """Remove units from the model and from everything in the run that has its shapes."""
        emas = averaged_models(runner)
        cuts = shrink(
            bare_model(runner),
            dead,
            copies=[ema.module for ema in emas],
            optimizers=[optim_wrapper(runner).optimizer],
            aligned=self.masks.aligned(),
        )
        if cuts:
            self.ticket.remove(dead)
            self.searched = moment
            refresh_averages(runner)
            rewrap(runner)
        return cuts

    def note(
        self,
        runner: Runner,
        moment: Moment,
        kind: str,
        kept: Mapping[str, float] = {},
        /,  # a figure may have any name
        **figures: float,
    ) -> None:
        """Put an event into the record and its figures into the log, for every backend.

        Args:
            runner (Runner): The run.
            moment (Moment): When.
            kind (str): What happened.
            kept (Mapping[str, float]): Figures for the record alone. Defaults to none.
            **figures (float): Figures by name.

        Raises:
            ValueError: If one is NaN or infinite: then weights are, and no file can be resumed.
        """
        for name, value in {**figures, **kept}.items():
            if not math.isfinite(value):
                raise ValueError(
                    f'the training has diverged: {kind} at {moment} has a {name} of {value}, since '
                    'weights are NaN or infinite. Go on from an earlier checkpoint with a smaller '
                    'learning rate, or a smaller rho where the search pulls'
                )
        self.ticket.events.append(dict(kind=kind, unit=moment.unit, t=moment.t, **figures, **kept))
        scalars = {f'{kind}/{name}': value for name, value in figures.items()}
        log_scalars(runner, scalars)
        log_event(runner, scalars, moment.iteration)


def bare_model(runner: Runner) -> nn.Module:
    """The model of a runner, without the wrapper of DDP or of test time augmentation."""
    model = runner.model
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return cast(nn.Module, model)


def seed_at(runner: Runner, iteration: int) -> int:
    """Compute the seed for random draws at an iteration: the same for a resumed run."""
    return (runner.seed or 0) * 1_000_003 + iteration


def averaged_models(runner: Runner) -> list[BaseAveragedModel]:
    """List the averaged models of the run's EMA hooks."""
    return [hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook)]


def refresh_averages(runner: Runner) -> None:
    """Make the averaged models find their tensors again, after shapes have changed."""
    for ema in averaged_models(runner):
        refresh_average(ema)


def follow_shapes(runner: Runner) -> None:
    """Give everything built around the model the shapes that init or a load has made.

    The averaged models are copies from the time before weights were initialized or loaded, and the
    distributed wrapper has planned its buckets for the shapes of that time.
    """
    model = bare_model(runner)
    for ema in averaged_models(runner):
        take_widths(ema.module, model.state_dict(), '')
        if not ema.steps:
            ema.module.load_state_dict(model.state_dict())
    refresh_averages(runner)
    rewrap(runner)


def optim_wrapper(runner: Runner) -> OptimWrapper:
    """Return the optimizer wrapper of a run.

    Raises:
        TypeError: If there are several.
    """
    wrapper = runner.optim_wrapper
    if not isinstance(wrapper, OptimWrapper):
        raise TypeError(
            f'the hooks of st_mm work with one optimizer, but optim_wrapper is a '
            f'{type(wrapper).__name__}'
        )
    return wrapper


def moved(runner: Runner) -> frozenset[int]:
    """What the optimizer of a run moves now, see :func:`st_mm.trainable.optimized`."""
    return optimized([optim_wrapper(runner).optimizer])


def rewrap(runner: Runner) -> None:
    """Build the distributed wrapper and the compiled step again, for a changed model.

    Dynamo counts how often it has compiled a function for other shapes, and stops compiling it
    after eight times. So it is told to forget what it has compiled.
    """
    if is_model_wrapper(runner.model):
        model = runner.model.module
        runner.model = None  # the old reducer must be gone before the new one is built
        runner.model = wrap_anew(runner, model)
    if runner.cfg.get('compile'):
        groups = optim_wrapper(runner).optimizer.param_groups
        groups[:] = map(dict, groups)  # paramwise_cfg makes ConfigDicts, on which dynamo fails
        vars(runner.model).pop('train_step', None)  # the compiled one, which hides the class's
        torch.compiler.reset()
        compile_step(runner)
