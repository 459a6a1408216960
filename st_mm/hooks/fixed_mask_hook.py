"""FixedMaskHook: a ticket keeps its masks while it is retrained."""

from collections.abc import Sequence
from typing import Any

from mmengine.registry import HOOKS
from mmengine.runner import Runner

from st_mm.prune import matches

from .mask_hook import MaskHook
from .run_state import Moment, RunState, bare_model


@HOOKS.register_module()
class FixedMaskHook(MaskHook):
    """Hold the masks of a loaded ticket through a training (retraining, paper Section 3.3).

    The masks are those of the ticket record; a checkpoint without one is masked where its
    weights are exact zeros.

    Args:
        skip (Sequence[str]): Shell patterns of weight names that are free. Defaults to none.

    Raises:
        ValueError: If no ticket is loaded (``load_from``), or nothing in it is masked.
    """

    def __init__(self, skip: Sequence[str] = ()) -> None:
        super().__init__(skip, by_epoch=False)

    def config(self) -> dict[str, Any]:
        """Arguments of the hook, for the ticket record."""
        return dict(skip=list(self.skip))

    def fill(self, runner: Runner, state: RunState) -> None:
        """Take the masks over from the ticket."""
        if state.ticket.masks:
            masks = {n: mask for n, mask in state.ticket.masks.items() if not matches(n, self.skip)}
            state.masks.load(masks, None)
        elif runner._has_loaded:
            zeros = {name: weight != 0 for name, weight in state.masks.weights.items()}
            state.masks.update({name: keep for name, keep in zeros.items() if not keep.all()})
        if not state.masks.keep:
            raise ValueError(
                f'FixedMaskHook found no masked weights in {type(bare_model(runner)).__name__}: '
                'set load_from to the checkpoint of a pruned ticket'
            )

    def step(self, runner: Runner, moment: Moment) -> None:
        """Nothing ever changes."""
