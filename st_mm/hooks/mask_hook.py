"""MaskHook: masked weights stay zero, whoever decides which they are."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from mmengine.runner import Runner
from torch import nn

from st_mm.arguments import names
from st_mm.prune import Masks, prunable_weights

from .run_state import RunState, averaged_models, bare_model, log_scalars
from .ticket_hook import TicketHook

Entry = TypeVar('Entry')


class MaskHook(TicketHook):
    """Base of the hooks that hold masks over the prunable weights of a training.

    Args:
        skip (Sequence[str]): Shell patterns of weight names that stay free. Defaults to none.
        by_epoch (bool): Whether time runs in epochs or in iterations. Defaults to True.

    Attributes:
        names (frozenset[str]): Names of the weights that the hook decides on, once training begins.
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
        if not state.fixed:
            state.masks = Masks({})
        weights = self._loose(state, bare_model(runner))
        if not weights:
            raise ValueError(
                f'{type(self).__name__} has nothing to prune beside FixedMaskHook: every weight '
                'came with the ticket; drop one of the two from custom_hooks'
            )
        self.names = frozenset(weights)
        copies = [self._loose(state, ema.module) for ema in averaged_models(runner)]
        state.masks.cover(weights, copies)
        self.fill(runner, state)
        log_scalars(runner, {'prune/density': state.masks.density()})

    def _loose(self, state: RunState, model: nn.Module) -> dict[str, torch.Tensor]:
        """Weights that may be masked, and that no other hook holds."""
        return {n: weight for n, weight in self.prunable(model).items() if n not in state.fixed}

    def own(self, entries: Mapping[str, Entry]) -> dict[str, Entry]:
        """Of entries by weight name, those of the weights that this hook decides on."""
        return {name: entry for name, entry in entries.items() if name in self.names}

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
