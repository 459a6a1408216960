"""MaskHook: masked weights stay zero, whoever decides which they are."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.runner import Runner
from torch import nn

from st_mm.arguments import names
from st_mm.prune import Masks, prunable_weights

from .run_state import RunState, averaged_models, bare_model, log_scalars
from .ticket_hook import TicketHook


class MaskHook(TicketHook):
    """Base of the hooks that hold masks over the prunable weights of a training.

    Args:
        skip (Sequence[str]): Shell patterns of weight names that stay free. Defaults to none.
        by_epoch (bool): Whether time runs in epochs or in iterations. Defaults to True.
    """

    priority = 42  # behind SearchHook and ReactivateHook, before EMAHook (50)
    holds_masks = True

    def __init__(self, skip: Sequence[str] = (), by_epoch: bool = True) -> None:
        super().__init__(by_epoch)
        self.skip = names('skip', skip)

    def fill(self, runner: Runner, state: RunState) -> None:
        """Give the masks, all free as yet, what they hold when training begins."""
        raise NotImplementedError

    def prunable(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """Weights of a model that may be masked, by name."""
        return prunable_weights(model, self.skip)

    def before_train(self, runner: Runner) -> None:
        """Build the masks over the live weights and those of the EMA."""
        super().before_train(runner)
        state = RunState.of(runner)
        copies = [self.prunable(ema.module) for ema in averaged_models(runner)]
        state.masks = Masks(self.prunable(bare_model(runner)), copies)
        self.fill(runner, state)
        log_scalars(runner, {'prune/density': state.masks.density()})

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Put masked weights back to zero behind the optimizer step, then step the schedule."""
        RunState.of(runner).masks.apply()
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
