"""FixedMaskHook: a ticket keeps its masks while it is retrained."""

from collections.abc import Sequence
from typing import Any

from mmengine.registry import HOOKS
from mmengine.runner import Runner

from st_mm.arguments import flag, integer
from st_mm.private import has_loaded, resumed
from st_mm.prune import matches
from st_mm.prune.scope import choose
from st_mm.prune.scores import random

from .mask_hook import MaskHook
from .run_state import Moment, RunState, bare_model


@HOOKS.register_module()
class FixedMaskHook(MaskHook):
    """Hold the masks of a ticket through a training (retraining, paper Section 3.2).

    The masks are those of the ticket that ``load_from`` brings, or that the model is initialized as
    (:class:`~st_mm.rewind.TicketInit`); a checkpoint without a record is masked where its weights
    are exact zeros.

    Args:
        shuffle (bool): Whether to mask as many weights at random places instead ("ST w/ RP"
            in the paper's Tables 7 and 8). Defaults to False.
        seed (int): Seed of the random places. Defaults to 0.
        skip (Sequence[str]): Shell patterns of weight names that are free. Defaults to none.

    Raises:
        ValueError: If there is no ticket, or nothing in it is masked.
    """

    def __init__(self, shuffle: bool = False, seed: int = 0, skip: Sequence[str] = ()) -> None:
        super().__init__(skip, by_epoch=False)
        self.shuffle = flag('shuffle', shuffle)
        self.seed = integer('seed', seed, 0)

    def config(self) -> dict[str, Any]:
        """Arguments of the hook, for the ticket record."""
        return dict(shuffle=self.shuffle, seed=self.seed, skip=list(self.skip))

    def fill(self, runner: Runner, state: RunState) -> None:
        """Take the masks over from the ticket."""
        weights, record = state.masks.weights, state.ticket.masks
        if record:
            record = {n: mask for n, mask in record.items() if not matches(n, self.skip)}
            keep = {name: state.ticket.mask(name) for name in record}
        else:
            keep = {n: w != 0 for n, w in weights.items() if has_loaded(runner) and not w.all()}
        if all(stays.all() for stays in keep.values()):
            raise ValueError(
                f'FixedMaskHook found no masked weights in {type(bare_model(runner)).__name__}: '
                "set load_from to the checkpoint of a pruned ticket, or init_cfg to type='Ticket'"
            )
        if self.shuffle and not resumed(runner):
            pool = {name: weights[name] for name in keep}
            masked = sum(int((~stays).sum()) for stays in keep.values())
            ratio = masked / sum(weight.numel() for weight in pool.values())
            state.masks.update(choose(random(pool, seed=self.seed), ratio))
        elif record:
            state.masks.load(record, state.latent if resumed(runner) else None)
        else:
            state.masks.update(keep)

    def step(self, runner: Runner, moment: Moment) -> None:
        """Nothing ever changes."""
