"""ReactivateHook: when masked weights are set free again."""

from typing import Any

from mmengine.registry import HOOKS
from mmengine.runner import Runner

from st_mm.search import find_owners

from .prune_hook import ProgressivePruneHook
from .run_state import Moment, RunState, bare_model, log_scalars
from .search_hook import SearchHook
from .ticket_hook import TicketHook


@HOOKS.register_module()
class ReactivateHook(TicketHook):
    """Set masked weights free for the time until the next prune (SuperTickets, Section 3.3).

    Nothing is set free after the last prune, so that training always ends at the target ratio.

    Args:
        on (str): ``'search'`` frees them when a search step has removed units (IR-S);
            ``'prune'`` right after each prune (the ablation IR-P). Defaults to ``'search'``.
        mode (str): ``'latent'`` gives the weights the value they had when they were masked (as
            published), ``'zero'`` starts them from zero. Defaults to ``'latent'``.
        scope (str): ``'searched'`` frees weights inside unit owners only (as published),
            ``'all'`` those of the stem and of others as well. Defaults to ``'searched'``.

    Raises:
        ValueError: If an argument has another value, or the hooks it follows are missing.
    """

    def __init__(self, on: str = 'search', mode: str = 'latent', scope: str = 'searched') -> None:
        super().__init__()
        for name, value, choices in (
            ('on', on, ('search', 'prune')),
            ('mode', mode, ('latent', 'zero')),
            ('scope', scope, ('searched', 'all')),
        ):
            if value not in choices:
                raise ValueError(f'{name} must be one of {", ".join(choices)}, got {value!r}')
        self.on = on
        self.mode = mode
        self.scope = scope
        # right behind the hook it follows: SearchHook 40, ProgressivePruneHook 42
        self.priority = self.place = 41 if on == 'search' else 43

    def config(self) -> dict[str, Any]:
        """Arguments of the hook, for the ticket record."""
        return dict(on=self.on, mode=self.mode, scope=self.scope)

    def before_train(self, runner: Runner) -> None:
        """Find the hooks to follow."""
        self.pruner = self._partner(runner, ProgressivePruneHook)
        leader = self._partner(runner, SearchHook) if self.on == 'search' else self.pruner
        self.by_epoch = leader.by_epoch
        if self.pruner.by_epoch != leader.by_epoch:
            raise ValueError('SearchHook and ProgressivePruneHook must agree on by_epoch')
        super().before_train(runner)

    def _partner(self, runner: Runner, kind: type) -> Any:
        for hook in runner.hooks:
            if isinstance(hook, kind):
                return hook
        raise ValueError(
            f'ReactivateHook(on={self.on!r}) needs a {kind.__name__} beside it in custom_hooks'
        )

    def step(self, runner: Runner, moment: Moment) -> None:
        """Free the weights if the event it follows has just happened."""
        state = RunState.of(runner)
        last = self.pruner.last_prune(runner)
        if self.on == 'search':
            # at the last prune's own moment the prune follows, and masks again
            due = state.searched == moment and last is not None and moment.t <= last
        else:
            due = state.pruned == moment and moment.t != last
        if not due:
            return
        names = None
        if self.scope == 'searched':
            owners = tuple(f'{name}.' for name in find_owners(bare_model(runner)))
            names = [name for name in state.masks.keep if name.startswith(owners)]
        freed = state.masks.free(names, self.mode)
        state.freed = moment
        density = state.masks.density()
        log_scalars(runner, {'prune/density': density})
        state.note(runner, moment, 'reactivate', freed=freed, density=density)
        runner.logger.info(f'reactivate at {moment}: {freed:,} weights, density {density:.6f}')
