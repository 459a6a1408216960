"""The ratio of masks: the share masked of the weights that take part, and what the record says."""

import math
from collections.abc import Mapping

from torch import Tensor

from st_mm.ticket.record import MASKING

from .run_state import RunState


def share_masked(weights: Mapping[str, Tensor], keep: Mapping[str, Tensor]) -> float:
    """Share that is masked, as a prune counts it; 0 of nothing.

    Args:
        weights (Mapping[str, Tensor]): What takes part. Masks of other weights are not counted.
        keep (Mapping[str, Tensor]): Masks by weight name, 0 for what is masked.
    """
    masked = sum(int((keep[name] == 0).sum()) for name in weights.keys() & keep.keys())
    return masked / max(sum(weight.numel() for weight in weights.values()), 1)


def held_ratio(state: RunState) -> float:
    """The last ratio of the record; 0 if there is none."""
    return float(next((e['ratio'] for e in reversed(state.ticket.events) if 'ratio' in e), 0.0))


def inherited_ratio(state: RunState) -> float | None:
    """The ratio of a ticket's masks when they were last measured; None without such a ticket."""
    events = reversed(state.ticket.events)
    return next((float(e['ratio']) for e in events if e['kind'] == 'inherit'), None)


def any_freed(state: RunState) -> bool:
    """Whether masked weights have been freed since the last prune."""
    events = (event['kind'] for event in reversed(state.ticket.events))
    return next((kind for kind in events if kind in ('inherit', *MASKING)), '') == 'reactivate'


def reaped(state: RunState, ratio: float) -> float:
    """The ratio that the last reaping has left of a scheduled one, if that was this one."""
    found = [event for event in state.ticket.events if event['kind'] == 'reap']
    if found and math.isclose(found[-1]['scheduled'], ratio, abs_tol=1e-9):
        return float(found[-1]['ratio'])
    return ratio
