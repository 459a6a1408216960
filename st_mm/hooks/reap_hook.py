"""ReapHook: when units that masks have emptied are removed."""

from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from st_mm.search import count_units, settle, settled_units
from st_mm.ticket.record import MASKING
from st_mm.trainable import training_names, unit_parameters
from st_mm.units import UnitOwner, find_owners

from .event_lines import reap_line
from .event_log import log_scalars
from .prune_hook import PruneHook
from .run_state import Moment, RunState, averaged_models, bare_model, moved
from .search_hook import SearchHook
from .ticket_hook import TicketHook, partner


@HOOKS.register_module()
class ReapHook(TicketHook):
    """Remove the units that masks have emptied, once nothing can be reactivated any more.

    A unit whose expand row, depthwise filter or project column is masked whole gives a constant, or
    nothing. After the last prune, and whenever masks are fitted again after it, such units go, and
    their constant moves into the norm behind the projection: in eval mode the live network and the
    EMA compute what they did. A unit whose constant cannot be folded exactly stays: that of an
    empty row, where the padding of the filter shows at the borders, and that before a
    squeeze-and-excitation.

    No mask changes with it, and no weight that has an effect goes. The share of masked weights
    among those that stay is another one, since a unit takes both kinds with it: that is the ratio
    in the record from then on, and masks that are fitted later are fitted to it.
    """

    priority = 56  # after RecalibrateHook (55): with the statistics that are saved, alike on ranks

    def config(self) -> dict[str, Any]:
        """Return the arguments of the hook, for the ticket record: none."""
        return {}

    def before_train(self, runner: Runner) -> None:
        """Find the hook to follow, and the units."""
        self.pruner = partner(runner, PruneHook, type(self).__name__)
        self.by_epoch = self.pruner.by_epoch
        super().before_train(runner)
        model = bare_model(runner)
        if not find_owners(model):
            raise ValueError(
                f'ReapHook needs a model with search units, and {type(model).__name__} has none: '
                'drop it from custom_hooks'
            )
        self.parameters = unit_parameters(model)

    def step(self, runner: Runner, moment: Moment) -> None:
        """Remove what is empty, if masks are final and have changed since the last time."""
        state = RunState.of(runner)
        last = self.pruner.last_prune(runner)
        if last is None or moment.t < last or not state.ticket.masks_hold():
            return
        if not self.pruner.taking_part(state):  # a share of nothing is not a ratio
            return
        events = (e['kind'] for e in reversed(state.ticket.events))
        if next((kind for kind in events if kind in ('reap', *MASKING)), 'reap') == 'reap':
            return
        names = training_names(self.parameters, moved(runner))
        owners = {n: owner for n, owner in find_owners(bare_model(runner)).items() if n in names}
        averages = [find_owners(ema.module) for ema in averaged_models(runner)]
        units, empty = count_units(owners), settled_units(owners, averages)
        for mask in empty.values():  # norms of their own may tell ranks other things
            self._agree(mask, owners)
        removed = sum(int(mask.sum()) for mask in empty.values())
        if removed:
            for each in (owners, *averages):
                settle(each, empty)
            state.shrink(runner, empty, moment)
            for hook in runner.hooks:
                if isinstance(hook, SearchHook):
                    hook.reprice()
                    log_scalars(runner, {'search/units': units - removed})
        ratio, density = self.pruner.share_masked(state), state.masks.density()
        log_scalars(runner, {'prune/density': density})
        kept = dict(scheduled=self.pruner.scheduled(moment.t))
        state.note(runner, moment, 'reap', kept, removed=removed, ratio=ratio, density=density)
        runner.logger.info(reap_line(moment, removed, units, ratio))

    @staticmethod
    def _agree(mask: torch.Tensor, owners: dict[str, UnitOwner]) -> None:
        """Leave what is not empty on every rank."""
        device = next(iter(owners.values())).unit_bn.weight.device
        votes = mask.to(device, torch.int32)
        all_reduce(votes, 'min')
        mask.copy_(votes.bool())
