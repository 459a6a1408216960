"""What all hooks of st_mm have in common: checks, the ticket record, complete files."""

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor, nn

from st_mm.arguments import flag
from st_mm.private import is_to_resume, is_training, load_from, resumed, shards
from st_mm.ticket import KEY, Ticket, plain_state
from st_mm.ticket.validation import check_latent
from st_mm.transfer import take_over
from st_mm.units.loading import check_fit
from st_mm.units.stock import expect_ticket
from st_mm.work_dir import WorkDirLock

from .averages import check_averages
from .labels import differ
from .opening import open_files
from .plain_checkpoint import make_plain, restore
from .recalibrate_hook import RecalibrateHook
from .resume_check import check_resumable
from .run_state import (
    BEFORE,
    LATENT,
    RESTING,
    THRESHOLDS,
    Moment,
    RunState,
    bare_model,
    follow_shapes,
)

Partner = TypeVar('Partner', bound=Hook)


class TicketHook(Hook):
    """Base of the hooks that draw tickets.

    It calls :meth:`step` with a moment after each epoch or iteration, checks the config before
    training starts, writes the ticket record into every checkpoint, and reads it again.

    Args:
        by_epoch (bool): Whether time runs in epochs or in iterations. Defaults to True.

    Attributes:
        holds_masks (bool): Whether the hook keeps masked weights at zero.
        fixes_masks (bool): Whether these masks never change, so that another hook may prune what
            it does not hold.
        calibration_batches (int): Batches over which BN is recalibrated after its events.
        place (int): The priority at which the hook works, since events of one moment have an order.
    """

    holds_masks = False
    fixes_masks = False
    calibration_batches = 0

    def __init__(self, by_epoch: bool = True) -> None:
        self.by_epoch = flag('by_epoch', by_epoch)
        self.place: Any = self.priority

    def step(self, runner: Runner, moment: Moment) -> None:
        """Do what is due at a moment."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """Return the arguments of the hook, for the ticket record, in plain types."""
        return dict(by_epoch=self.by_epoch)

    def before_run(self, runner: Runner) -> None:
        """Check the other hooks, the work dir and the checkpoint, before anything is built."""
        self._check_neighbours(runner)
        if is_training(runner):
            check_averages(runner, self)
        if sharded := shards(runner):
            raise ValueError(
                f'{type(self).__name__} does not work with {sharded}: a parameter that is split '
                'over ranks can neither lose units nor be masked; train with DDP '
                '(MMDistributedDataParallel, DDPStrategy), or DeepSpeed up to ZeRO-2'
            )
        for module in bare_model(runner).modules():  # perhaps built before st_mm was imported
            expect_ticket(module)
        if self is next(hook for hook in runner.hooks if isinstance(hook, TicketHook)):
            open_files(runner)
        if not any(isinstance(hook, RecalibrateHook) for hook in runner.hooks):
            runner.register_hook(RecalibrateHook())

    def _check_neighbours(self, runner: Runner) -> None:
        """Refuse hooks that would undo each other's work, or that have another priority."""
        name = type(self).__name__
        for other in runner.hooks:
            if other is self or not isinstance(other, TicketHook):
                continue
            both = self.holds_masks and other.holds_masks
            if type(other) is type(self) or (both and self.fixes_masks == other.fixes_masks):
                raise ValueError(
                    f'custom_hooks has {name} and {type(other).__name__}, which decide the same '
                    'thing: keep one of them'
                )
        if self.priority != self.place:
            raise ValueError(
                f'{name} works at priority {self.place}, in an order with EMAHook and the '
                f'others, but the config says {self.priority!r}: drop priority from it'
            )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Take the record over, and what the model shares with it.

        For a test or a resume, refuse a checkpoint that does not fit as a whole.
        """
        if self is not next(hook for hook in runner.hooks if isinstance(hook, TicketHook)):
            return  # the first one does it for all
        meta = checkpoint.get('meta', {})
        meta.pop('config', None)  # mmengine would run it as Python (`Runner.resume`)
        state, ticket = RunState.of(runner), Ticket.from_meta(meta)
        state.ticket = ticket or Ticket()
        state.latent, state.before = checkpoint.get(LATENT), checkpoint.get(BEFORE)
        state.thresholds = checkpoint.get(THRESHOLDS, {})
        state.rested = checkpoint.get(RESTING)
        if state.latent is not None:
            check_latent(state.latent, state.ticket.masks, state.thresholds)
        to_resume = is_to_resume(runner) and is_training(runner)
        model, weights = bare_model(runner), plain_state(checkpoint)
        if to_resume or not is_training(runner):
            used = weights if to_resume else without_dropped_heads(model, weights)
            check_fit(model, used, '', required=True)
            state.ticket.check_zeros(weights)
            if to_resume:
                check_resumable(runner, checkpoint, ticket)
                restore(checkpoint)
        elif state.ticket.versions:
            dataset = runner.train_dataloader.dataset
            own_head = differ(
                getattr(dataset, 'metainfo', None) or {},
                meta.get('dataset_meta') or {},
            )
            file = str(load_from(runner))
            if found := take_over(model, state.ticket, checkpoint, file, own_head):
                known, table = found
                state.take(known)
                runner.logger.info(table)

    def before_train(self, runner: Runner) -> None:
        """Check the loop and the data, and begin the record."""
        if self.by_epoch and not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise ValueError(
                f'{type(self).__name__}(by_epoch=True) needs an epoch-based training loop, but '
                f'train_cfg says {type(runner.train_loop).__name__}: set by_epoch=False and give '
                'intervals in iterations'
            )
        dataset = runner.train_dataloader.dataset
        if not len(dataset):
            raise ValueError(
                f'{type(dataset).__name__} found no samples for training: check data_root '
                f'({getattr(dataset, "data_root", None)!r}) and data_prefix in train_dataloader'
            )
        batches, epoch = self.calibration_batches, len(runner.train_dataloader)
        if batches > epoch:
            runner.logger.warning(
                f'{type(self).__name__}: calibration_batches is {batches}, but an epoch has '
                f'{epoch} batches: BN statistics count some samples more than once'
            )
        state = RunState.of(runner)
        if not state.started:
            follow_shapes(runner)  # a checkpoint may have other shapes
        ticket = state.start(bare_model(runner), resumed(runner))
        if self.calibration_batches and not state.rehearsed:
            RecalibrateHook.rehearse(runner)
            state.rehearsed = True
        if ticket.masks and not any(
            isinstance(hook, TicketHook) and hook.holds_masks for hook in runner.hooks
        ):
            if resumed(runner):
                raise ValueError(
                    'the checkpoint to resume from is pruned, but no hook of this config holds its '
                    'masks: add the pruning hook (or FixedMaskHook) that it was trained with'
                )
            runner.logger.warning(
                'the ticket that training starts from is pruned, but no hook of this config holds '
                'its masks, so that its zeros will be trained: add FixedMaskHook or PruneHook'
            )
        ticket.config[type(self).__name__] = self.config()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Step at an iteration."""
        if not self.by_epoch:
            self.step(runner, Moment('iter', runner.iter + 1, runner.iter + 1))

    def after_train_epoch(self, runner: Runner) -> None:
        """Step at the end of an epoch, before it is evaluated and saved."""
        if self.by_epoch:
            self.step(runner, Moment('epoch', runner.epoch + 1, runner.iter))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Write the record; the first of these hooks does it for all."""
        state = RunState.of(runner)
        if KEY in checkpoint['meta'] or not state.ticket.versions:
            return
        state.ticket.masks = state.masks.state()
        checkpoint[LATENT] = state.masks.latent_state()
        checkpoint[BEFORE] = state.masks.before_state()
        checkpoint[RESTING] = sorted(state.masks.resting)
        if state.masks.thresholds:
            checkpoint[THRESHOLDS] = dict(state.masks.thresholds)
        checkpoint['meta'][KEY] = state.ticket.to_meta()
        make_plain(checkpoint)

    def after_run(self, runner: Runner) -> None:
        """Leave the work dir to others."""
        WorkDirLock.release(runner.work_dir)

    def now(self, runner: Runner) -> Moment:
        """Return the moment before the next step: what is done, in the hook's unit of time."""
        unit, done = ('epoch', runner.epoch) if self.by_epoch else ('iter', runner.iter)
        return Moment(unit, done, runner.iter)

    def total(self, runner: Runner) -> int:
        """Return the length of the training, in the hook's unit of time."""
        length: int = runner.max_epochs if self.by_epoch else runner.max_iters
        return length


def partner(runner: Runner, kind: type[Partner], name: str) -> Partner:
    """Find the hook that another one follows.

    Args:
        runner (Runner): The run.
        kind (type): Class of the hook.
        name (str): The other hook, for the error.

    Raises:
        ValueError: If there is none.
    """
    for hook in runner.hooks:
        if isinstance(hook, kind):
            return hook
    raise ValueError(f'{name} needs a {kind.__name__} in custom_hooks too')


def without_dropped_heads(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out the auxiliary heads that a test config has dropped, as stock mm does.

    They help a training along and are not run in a test.

    Args:
        model (nn.Module): The model of the test.
        weights (dict[str, Tensor]): The weights of a checkpoint.
    """
    places = model.state_dict().keys()
    return {n: w for n, w in weights.items() if n in places or 'aux' not in n.partition('.')[0]}


def check_same_time(*hooks: TicketHook) -> None:
    """Refuse hooks of which one counts epochs and another iterations.

    Raises:
        ValueError: Naming the first two that differ.
    """
    first, *others = hooks
    for other in others:
        if other.by_epoch != first.by_epoch:
            raise ValueError(
                f'{type(first).__name__} and {type(other).__name__} must agree on by_epoch'
            )
