"""FixedMaskHook: a ticket keeps its masks while it is trained on."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from mmengine.registry import HOOKS
from mmengine.runner import Runner

from st_mm.arguments import flag, integer
from st_mm.private import has_loaded, resumed
from st_mm.prune import matches, shuffle

from .event_log import log_scalars
from .mask_hook import MaskHook
from .run_state import Moment, RunState, bare_model

HELD = 'held'  # in the record of the hook: what came with the ticket, if not everything did


@HOOKS.register_module()
class FixedMaskHook(MaskHook):
    """Hold the masks of a ticket (retraining: paper Section 3.2, transfer: paper Section 3.3).

    The masks are those of the ticket in ``load_from``, or of the ticket that initializes the model
    (:class:`~st_mm.rewind.TicketInit`). If a checkpoint has no record, its exact zeros are the
    masked weights. Weights that did not come with the ticket are dense, unless the config has a
    pruning hook too. That hook does not change what is held here, not even dense layers.

    Args:
        shuffle (bool): Whether to mask as many weights of every layer at random places instead
            ("ST w/ RP" in the paper's Tables 7 and 8). A weight that is masked no longer takes the
            value that it had before it was, if the file of the ticket has it, else it starts at
            zero. Defaults to False.
        seed (int): Seed of the random places. Defaults to 0.
        skip (Sequence[str]): Shell patterns of weight names that are not masked. Defaults to none.

    Raises:
        ValueError: If there is no ticket, nothing in it is masked, or it masks weights that must be
            dense in the model.
    """

    priority = 41  # before the hook that prunes what is not held here
    fixes_masks = True

    def __init__(self, shuffle: bool = False, seed: int = 0, skip: Sequence[str] = ()) -> None:
        super().__init__(skip, by_epoch=False)
        self.shuffle = flag('shuffle', shuffle)
        self.seed = integer('seed', seed, 0)

    def config(self) -> dict[str, Any]:
        """Return the arguments of the hook, for the ticket record."""
        return dict(shuffle=self.shuffle, seed=self.seed, skip=list(self.skip))

    def before_train(self, runner: Runner) -> None:
        """Look up what was held before an interruption, then take the masks."""
        state = RunState.of(runner)
        if resumed(runner):
            held = state.ticket.config.get(type(self).__name__, {}).get(HELD)
            state.shared = None if held is None else frozenset(held)
        super().before_train(runner)

    def fill(self, runner: Runner, state: RunState) -> None:
        """Take the masks of the ticket."""
        weights, came = state.masks.known, state.shared
        held = frozenset(name for name in weights if came is None or name in came)
        record = {n: m for n, m in state.ticket.masks.items() if not matches(n, self.skip)}
        if resumed(runner):
            record = {name: mask for name, mask in record.items() if name in held}
        self._check(runner, record, held)
        if record:
            keep = {name: state.ticket.mask(name).to(weights[name].device) for name in record}
        else:
            loaded = state.masks.weights if has_loaded(runner) else {}
            keep = {name: weight != 0 for name, weight in loaded.items() if not weight.all()}
        if all(stays.all() for stays in keep.values()):
            raise ValueError(
                f'FixedMaskHook found no masked weights in {type(bare_model(runner)).__name__}: '
                "set load_from to the checkpoint of a pruned ticket, or init_cfg to type='Ticket' "
                "('Pretrained' brings no masks)"
            )
        if record:
            state.masks.load(record, state.latent)
        if self.shuffle and not resumed(runner):
            state.masks.update(shuffle(keep, self.seed))
        elif not record:
            state.masks.update(keep)
        state.fixed = held
        if held != weights.keys():
            state.ticket.config[type(self).__name__][HELD] = sorted(held)
            self._say_parts(runner, state)

    def _check(self, runner: Runner, record: dict[str, Any], held: frozenset[str]) -> None:
        """Refuse a ticket that masks what has to be dense."""
        if lost := sorted(record.keys() - held):
            name = type(bare_model(runner)).__name__
            raise ValueError(
                f"the ticket masks '{lost[0]}' (and {len(lost) - 1} more), which has to be dense "
                f'in {name}, as the classifier of the task for instance: let its part start new, '
                "init_cfg=dict(type='Ticket', new=[...])"
            )

    def _say_parts(self, runner: Runner, state: RunState) -> None:
        """Log the density of every part, since one figure over all says little."""
        kept: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for name, share in state.masks.densities().items():
            part, size = name.split('.')[0], state.masks.known[name].numel()
            kept[part] += round(share * size)
            sizes[part] += size
        shares = {part: kept[part] / max(size, 1) for part, size in sizes.items()}
        log_scalars(runner, {f'prune/density/{part}': share for part, share in shares.items()})
        text = ', '.join(f'{part} {share:.4f} of {sizes[part]:,}' for part, share in shares.items())
        runner.logger.info(f'density of what is prunable: {text}')

    def step(self, runner: Runner, moment: Moment) -> None:
        """Do nothing: the masks never change."""
