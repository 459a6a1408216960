"""MaskHook: masked weights stay zero, whichever hook chooses them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from mmengine.model import BaseAveragedModel
from mmengine.runner import Runner

from st_mm.arguments import names
from st_mm.private import resumed
from st_mm.prune import Masks, Survey, survey
from st_mm.prune.merge import merged
from st_mm.prune.prunable import check_any
from st_mm.trainable import training_names

from .event_log import log_scalars
from .run_state import RunState, averaged_models, bare_model, moved
from .ticket_hook import TicketHook

Entry = TypeVar('Entry')


class MaskHook(TicketHook):
    """Base of the hooks that hold masks over prunable weights during a training.

    Args:
        skip (Sequence[str]): Shell patterns of weight names that stay free. Defaults to none.
        by_epoch (bool): Whether time runs in epochs or in iterations. Defaults to True.

    Attributes:
        names (frozenset[str]): Names of the weights that the hook decides on, once training begins.
    """

    priority = 42  # after SearchHook and ReactivateHook, before EMAHook (50)
    holds_masks = True

    def __init__(self, skip: Sequence[str] = (), by_epoch: bool = True) -> None:
        super().__init__(by_epoch)
        self.skip = names('skip', skip)

    def fill(self, runner: Runner, state: RunState) -> None:
        """Set the masks for the start of training; until now, all weights are free."""
        raise NotImplementedError

    def fitting(self, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Those of the prunable weights that the hook may mask."""
        return weights

    def before_train(self, runner: Runner) -> None:
        """Build the masks over the live weights and those of the EMA."""
        super().before_train(runner)
        state = RunState.of(runner)
        model = bare_model(runner)
        model.train()  # as the loop is about to do: mm's backbones freeze their stages then
        found = survey(model, self.skip, moved(runner))
        weights = self.fitting(found.known)
        check_any(model, found, weights)
        if not state.fixed:
            state.masks = Masks({})
        weights = {n: weight for n, weight in weights.items() if n not in state.fixed}
        if not weights:
            raise ValueError(
                f'{type(self).__name__} has nothing to prune beside FixedMaskHook: every weight '
                'came with the ticket; drop one of the two from custom_hooks'
            )
        self.names = frozenset(weights)
        state.masks.cover(weights, [_same(weights, ema) for ema in averaged_models(runner)])
        self.follow(runner)
        if resumed(runner) and state.rested is not None:  # the next step finds what has changed
            state.masks.resting = frozenset(state.masks.known) & frozenset(state.rested)
        _tell(runner, found)
        if merged(model) is not None:
            runner.logger.warning(
                f'{type(model).__name__} is re-parameterized for deployment: zeros do not survive '
                'where parallel branches become one convolution. `tools/ticket.py show` gives the '
                'density after the merge; to deploy a sparse network, prune the merged one'
            )
        self.fill(runner, state)
        log_scalars(runner, {'prune/density': state.masks.density()})

    def own(self, entries: Mapping[str, Entry]) -> dict[str, Entry]:
        """Of entries by weight name, those of the weights that this hook decides on."""
        return {name: entry for name, entry in entries.items() if name in self.names}

    def follow(self, runner: Runner) -> bool:
        """Let what does not train now rest, and the others take part; whether any has changed."""
        masks = RunState.of(runner).masks
        groups = {name: [weight] for name, weight in masks.known.items()}
        before = masks.resting
        masks.resting = frozenset(groups) - training_names(groups, moved(runner))
        return before != masks.resting

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Set masked weights to zero after the optimizer step, then step the schedule."""
        RunState.of(runner).masks.apply()
        super().after_train_iter(runner, batch_idx, data_batch, outputs)


def _same(weights: Mapping[str, torch.Tensor], copy: BaseAveragedModel) -> dict[str, torch.Tensor]:
    """The weights of the same names in an averaged model."""
    theirs = dict(copy.module.named_parameters(remove_duplicate=False))
    return {name: theirs[name] for name in weights}


def _tell(runner: Runner, found: Survey) -> None:
    """Warn of what cannot be masked, or is not now, and so is not counted."""
    if found.unreached:
        runner.logger.warning(
            f'{len(found.unreached)} weights ({100 * found.share(found.unreached):.1f} % of those '
            'of all layers) stay dense and are not counted, since their layers make the kernels '
            f'anew, where zeros do not survive: {", ".join(found.unreached)}'
        )
    if found.frozen:
        runner.logger.info(
            f'{len(found.frozen)} weights ({100 * found.share(found.frozen):.1f} % of those of all '
            'layers) do not train now; they are neither masked nor counted until they do'
        )
