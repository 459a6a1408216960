"""FixedMaskHook: a ticket keeps its masks while it is retrained."""

from collections.abc import Sequence
from typing import Any

from mmengine.registry import HOOKS
from mmengine.runner import Runner

from st_mm.prune import matches
from st_mm.prune.scope import choose
from st_mm.prune.scores import random
from st_mm.rewind import read_ticket

from .mask_hook import MaskHook
from .run_state import Moment, RunState, bare_model


@HOOKS.register_module()
class FixedMaskHook(MaskHook):
    """Hold the masks of a ticket through a training (retraining, paper Section 3.3).

    The masks are those of the ticket record; a checkpoint without one is masked where its
    weights are exact zeros.

    Args:
        checkpoint (str, optional): The ticket, where it is not what ``load_from`` loads: with
            ``init_cfg=dict(type='Ticket', ...)``, see :class:`~st_mm.rewind.TicketInit`.
            Defaults to None.
        shuffle (bool): Whether to mask as many weights at random places instead (the paper's
            "ST w/ RP"). Defaults to False.
        seed (int): Seed of the random places. Defaults to 0.
        skip (Sequence[str]): Shell patterns of weight names that are free. Defaults to none.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If no ticket is loaded (``load_from``), or nothing in it is masked.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        shuffle: bool = False,
        seed: int = 0,
        skip: Sequence[str] = (),
    ) -> None:
        super().__init__(skip, by_epoch=False)
        self.checkpoint = checkpoint
        self.shuffle = shuffle
        self.seed = seed

    def config(self) -> dict[str, Any]:
        """Arguments of the hook, for the ticket record."""
        names = ('checkpoint', 'shuffle', 'seed')
        return {name: getattr(self, name) for name in names} | dict(skip=list(self.skip))

    def before_train(self, runner: Runner) -> None:
        """Read the record, unless the training that is resumed has it."""
        if self.checkpoint and not runner._resume:
            RunState.of(runner).ticket = read_ticket(self.checkpoint)
        super().before_train(runner)

    def fill(self, runner: Runner, state: RunState) -> None:
        """Take the masks over from the ticket."""
        weights, record = state.masks.weights, state.ticket.masks
        if record:
            record = {n: mask for n, mask in record.items() if not matches(n, self.skip)}
            keep = {name: state.ticket.mask(name) for name in record}
        else:
            keep = {n: w != 0 for n, w in weights.items() if runner._has_loaded and not w.all()}
        if self.shuffle and not runner._resume:
            masked = sum(int((~stays).sum()) for stays in keep.values())
            ratio = masked / sum(weight.numel() for weight in weights.values())
            state.masks.update(choose(random(weights, None, seed=self.seed), ratio))
        elif record:
            state.masks.load(record, state.latent if runner._resume else None)
        else:
            state.masks.update(keep)
        if not state.masks.keep:
            raise ValueError(
                f'FixedMaskHook found no masked weights in {type(bare_model(runner)).__name__}: '
                'set load_from, or checkpoint, to that of a pruned ticket'
            )

    def step(self, runner: Runner, moment: Moment) -> None:
        """Nothing ever changes."""
