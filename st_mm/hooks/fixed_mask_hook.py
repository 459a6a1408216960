"""FixedMaskHook: a ticket keeps its masks while it is retrained."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

import torch
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from .prune_hook import build_masks
from .run_state import Moment, RunState, bare_model, log_scalars
from .ticket_hook import TicketHook


@HOOKS.register_module()
class FixedMaskHook(TicketHook):
    """Hold the masks of a loaded ticket through a training (retraining, paper Section 3.3).

    The masks are those of the ticket record; a checkpoint without one is masked where its
    weights are exact zeros.

    Args:
        skip (Sequence[str]): Shell patterns of weight names that are free. Defaults to none.

    Raises:
        ValueError: If no ticket is loaded (``load_from``), or nothing in it is masked.
    """

    priority = 42  # where ProgressivePruneHook stands
    holds_masks = True

    def __init__(self, skip: Sequence[str] = ()) -> None:
        super().__init__(by_epoch=False)
        self.skip = skip if isinstance(skip, str) else tuple(skip)

    def config(self) -> dict[str, Any]:
        """Arguments of the hook, for the ticket record."""
        return dict(skip=list(self.skip))

    def before_train(self, runner: Runner) -> None:
        """Take the masks over from the ticket."""
        super().before_train(runner)
        state = RunState.of(runner)
        state.masks = build_masks(runner, self.skip)
        if state.ticket.masks:
            state.masks.load(
                {
                    name: mask
                    for name, mask in state.ticket.masks.items()
                    if not any(fnmatch(name, pattern) for pattern in self.skip)
                },
                None,
            )
        elif runner._has_loaded:
            zeros = {name: weight != 0 for name, weight in state.masks.weights.items()}
            state.masks.update({name: keep for name, keep in zeros.items() if not keep.all()})
        if not state.masks.keep:
            raise ValueError(
                f'FixedMaskHook found no masked weights in {type(bare_model(runner)).__name__}: '
                'set load_from to the checkpoint of a pruned ticket'
            )
        log_scalars(runner, {'prune/density': state.masks.density()})

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Put masked weights back to zero behind the optimizer step."""
        RunState.of(runner).masks.apply()

    def step(self, runner: Runner, moment: Moment) -> None:
        """Nothing ever changes."""
