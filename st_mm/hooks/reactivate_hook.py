"""ReactivateHook: when masked weights are set free again."""

from typing import Any

from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from st_mm.arguments import choice, integer, number
from st_mm.calibration.rehearsal import rehearsal
from st_mm.prune import grow
from st_mm.units import find_owners

from .event_lines import reactivate_line
from .event_log import log_scalars
from .evidence import evidence_at
from .prune_hook import PruneHook
from .run_state import Moment, RunState, bare_model
from .search_hook import SearchHook
from .ticket_hook import TicketHook, check_same_time, partner

GRADIENT_ADVICE = (
    "it needs the loss that model(inputs, ..., mode='loss') gives, as mm's own train_step does; "
    "let the model give it so, or choose the mode 'latent' or 'zero'"
)


@HOOKS.register_module()
class ReactivateHook(TicketHook):
    """Set masked weights free until the next prune (iterative reactivation, paper Section 3.2).

    Nothing is set free after the last prune, so training always ends at the target ratio.

    Args:
        on (str): ``'search'`` frees them when a search step has removed units (IR-S);
            ``'prune'`` right after each prune (the ablation IR-P), except one before the first
            step. Defaults to ``'search'``.
        mode (str): ``'latent'`` gives the weights the value they had when they were masked (as
            published), ``'zero'`` starts them from zero. ``'gradient'`` starts from zero too, and
            frees only those with the largest gradients (RigL, Evci et al. 2020). Defaults to
            ``'latent'``.
        scope (str): ``'searched'`` frees weights inside unit owners only (as published),
            ``'all'`` frees weights of the stem and of other layers too. Defaults to ``'searched'``.
        share (float): Share of the masked weights that mode ``'gradient'`` frees, in (0, 1].
            Defaults to 0.3.
        batches (int): Training batches for that gradient. Defaults to 10.

    Raises:
        ValueError: If an argument has another value, or the hooks it follows are missing.
    """

    def __init__(
        self,
        on: str = 'search',
        mode: str = 'latent',
        scope: str = 'searched',
        share: float = 0.3,
        batches: int = 10,
    ) -> None:
        super().__init__()
        self.on = choice('on', on, ('search', 'prune'))
        self.mode = choice('mode', mode, ('latent', 'zero', 'gradient'))
        self.scope = choice('scope', scope, ('searched', 'all'))
        self.share = number('share', share, above=0, most=1)
        self.batches = integer('batches', batches, 1)
        # right after the hook it follows: SearchHook 40, PruneHook 42
        self.priority = self.place = 41 if on == 'search' else 43

    def config(self) -> dict[str, Any]:
        """Return the arguments of the hook, for the ticket record."""
        arguments: dict[str, Any] = dict(on=self.on, mode=self.mode, scope=self.scope)
        if self.mode == 'gradient':
            arguments |= dict(share=self.share, batches=self.batches)
        return arguments

    def before_train(self, runner: Runner) -> None:
        """Find the hooks to follow."""
        name = f'ReactivateHook(on={self.on!r})'
        self.pruner = partner(runner, PruneHook, name)
        if self.pruner.straight_through:
            raise ValueError(
                'ReactivateHook frees masked weights at events, and with straight_through they '
                'learn at every step: drop ReactivateHook from custom_hooks, or straight_through '
                f'from {type(self.pruner).__name__}'
            )
        leader = partner(runner, SearchHook, name) if self.on == 'search' else self.pruner
        self.by_epoch = leader.by_epoch
        check_same_time(leader, self.pruner)
        if self.scope == 'searched' and not find_owners(bare_model(runner)):
            raise ValueError(
                "ReactivateHook(scope='searched') frees only weights of search units, and "
                f"{type(bare_model(runner)).__name__} has no search units: set scope='all'"
            )
        super().before_train(runner)
        if self.mode == 'gradient':
            self._rehearse(runner)

    def _rehearse(self, runner: Runner) -> None:
        """Compute the gradient once, of one batch, before the first step."""
        model = bare_model(runner)
        weights = {name: w for name, w in model.named_parameters() if w.requires_grad}
        evidence = evidence_at(runner, Moment('iter', runner.iter, runner.iter), 1)
        with rehearsal("ReactivateHook(mode='gradient')", model, GRADIENT_ADVICE):
            evidence.gradients(weights)

    def step(self, runner: Runner, moment: Moment) -> None:
        """Free the weights if the event it follows has just happened."""
        state = RunState.of(runner)
        last = self.pruner.last_prune(runner)
        if self.on == 'search':
            # at the moment of the last prune, the prune comes next and masks again
            due = state.searched == moment and last is not None and moment.t <= last
        else:
            due = state.pruned == moment and moment.t != last
        if not due:
            return
        still = state.fixed | state.masks.resting
        names = [name for name in state.masks.keep if name not in still]
        if self.scope == 'searched':
            owners = tuple(f'{name}.' for name in find_owners(bare_model(runner)))
            names = [name for name in names if name.startswith(owners)]
        if not any((state.masks.keep[name] == 0).any() for name in names):
            return
        if self.mode == 'gradient':
            where = self._grown(runner, moment, names)
            freed = state.masks.free(names, 'zero', where)
        else:
            freed = state.masks.free(names, self.mode)
        state.freed = moment
        density = state.masks.density()
        log_scalars(runner, {'prune/density': density})
        state.note(runner, moment, 'reactivate', freed=freed, density=density)
        runner.logger.info(reactivate_line(moment, freed, density))

    def _grown(self, runner: Runner, moment: Moment, names: list[str]) -> dict[str, Tensor]:
        """Pick the masked weights with the largest gradients."""
        masks = RunState.of(runner).masks
        evidence = evidence_at(runner, moment, self.batches)
        slopes = evidence.gradients({name: masks.weights[name] for name in names})
        masked = {name: masks.keep[name] == 0 for name in names}
        return grow({name: slope.abs() for name, slope in slopes.items()}, masked, self.share)
