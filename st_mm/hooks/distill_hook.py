"""DistillHook: a teacher's answers beside the truth."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.hub import get_config
from mmengine.registry import HOOKS
from mmengine.runner import CheckpointLoader, Runner
from torch import Tensor, nn

from st_mm.arguments import choice, number
from st_mm.distillation import LOSSES, Teacher, distance, loss_of, with_teacher
from st_mm.models.building import build_model, load_strictly

from .run_state import RunState, averaged_models, bare_model

EMA = 'ema'


@HOOKS.register_module()
class DistillHook(Hook):
    """Add to the loss how far the model's answers are from those of a teacher.

    The teacher is any mm model for the same pictures and classes: the dense supernet, or a network
    of another kind. It sees every batch of the training as the model does. ``loss_distill`` is in
    the log. The teacher is no part of the run: it is not trained, not saved, and built again when
    a training is resumed. Or it is the moving average of the run itself, with the latent weights
    under its masks, and with BN statistics of each batch: the average has those of masked weights.

    Args:
        teacher (str): Config of the teacher: a file, or ``library::path``. ``'ema'`` for the
            average of the first ``EMAHook``.
        checkpoint (str, optional): Its weights; those of a ticket bring its units. Defaults to
            None, for ``'ema'``.
        weight (float): Times the distance is added to the loss. Defaults to 1.
        temperature (float): Of the classes, see :func:`~st_mm.distillation.distance`. Defaults
            to 1.
        loss (str, optional): ``'kl'``, ``'binary'`` or ``'mse'``. Defaults to None: ``'mse'`` for
            heatmaps, ``'binary'`` for a head whose loss has a sigmoid, else ``'kl'``.

    Raises:
        ValueError: If teacher and model get other pictures or answer other questions, give neither
            classes nor heatmaps, weights are missing in the checkpoint, or the run has no
            ``EMAHook`` to learn from.
    """

    priority = 'HIGH'  # before the hooks that score weights by the model's own loss

    def __init__(
        self,
        teacher: str,
        checkpoint: str | None = None,
        weight: float = 1.0,
        temperature: float = 1.0,
        loss: str | None = None,
    ) -> None:
        if teacher == EMA and checkpoint is not None:
            raise ValueError(
                "DistillHook(teacher='ema') learns from the average of the run, and takes no "
                f'checkpoint, got {checkpoint!r}'
            )
        if teacher != EMA:
            for name, value in (('teacher', teacher), ('checkpoint', checkpoint)):
                if not isinstance(value, str) or not value:
                    raise ValueError(
                        f'{name} of DistillHook must be the name of a file, got {value!r}'
                    )
        self.config, self.checkpoint = teacher, checkpoint
        self.weight = number('weight', weight, 0, where='DistillHook')
        self.temperature = number('temperature', temperature, above=0, where='DistillHook')
        self.loss = None if loss is None else choice('loss', loss, LOSSES)
        self.teacher: Teacher | None = None
        self._unmasked: Callable[[], AbstractContextManager[None]] = nullcontext

    def before_train(self, runner: Runner) -> None:
        """Build the teacher, and refuse one that does not fit."""
        model = bare_model(runner)
        if self.checkpoint is None:
            _average(runner)
            self._unmasked = lambda: RunState.of(runner).masks.uncovered(1)
        else:
            with torch.random.fork_rng(devices=[]):  # the run draws as it would without a teacher
                self.teacher = Teacher(build(self.config, self.checkpoint))
            self.teacher.check(model)
            self.teacher.model.to(next(model.parameters()).device)
        fitting = loss_of(model)  # an error for what cannot be compared, whatever the config says
        self.loss = self.loss or fitting

    def before_train_epoch(self, runner: Runner) -> None:
        """Take the average, of which EMAHook may have made another one since."""
        if self.checkpoint is None:
            self.teacher = Teacher(_average(runner), own_statistics=False)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Let the model's loss have one more entry."""
        model: Any = bare_model(runner)
        model.loss = with_teacher(model, self._compare)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Give the model its own loss back, so that it can be copied and saved."""
        bare_model(runner).__dict__.pop('loss', None)

    def _compare(self, pictures: Tensor, answer: Tensor) -> Tensor:
        assert self.teacher is not None
        assert self.loss is not None
        with self._unmasked():
            wanted = self.teacher(pictures)
        return self.weight * distance(answer, wanted, self.loss, self.temperature)


def _average(runner: Runner) -> nn.Module:
    """The averaged model of a run.

    Raises:
        ValueError: If it has none, or one on another device.
    """
    averages = averaged_models(runner)
    if not averages:
        raise ValueError(
            "DistillHook(teacher='ema') needs an EMAHook in custom_hooks: the run has no average"
        )
    average: nn.Module = averages[0].module
    ours, theirs = (next(m.parameters()).device for m in (bare_model(runner), average))
    if ours != theirs:
        raise ValueError(
            f"DistillHook(teacher='ema') needs the average on {ours}, where the model is, and it "
            f'is on {theirs}: leave device out of the EMAHook'
        )
    return average


def build(config: str, checkpoint: str) -> nn.Module:
    """Build a model and load its weights: all of them, and the units of a ticket.

    Args:
        config (str): A file, or ``library::path``.
        checkpoint (str): A file, an address, or the name of weights that ship with st_mm.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the config names no model, or the weights do not fit.
    """
    found = get_config(config) if '::' in config else Config.fromfile(config)
    try:
        model = build_model(found)
    except ValueError as error:
        raise ValueError(f'the config of the teacher, {config}: {error}') from error
    state = CheckpointLoader.load_checkpoint(checkpoint, 'cpu')
    try:
        load_strictly(model, state.get('state_dict', state))
    except RuntimeError as error:
        raise ValueError(f'the weights of the teacher, {checkpoint}: {error}') from error
    return model
