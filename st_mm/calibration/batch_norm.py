"""Recalibrating BN statistics after the network has changed (paper Algorithm 1)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from st_mm.measure.tracing import eval_mode


@torch.no_grad()
def recalibrate(
    models: Sequence[nn.Module],
    batches: Iterable[Any],
    forward: Callable[[nn.Module, Any], Any],
) -> int:
    """Replace running statistics by their plain average over some batches.

    During this, everything but the BN layers is in eval mode, so that the statistics are those of
    the network that will be evaluated. They are averaged over all ranks. At the end, modes and
    momenta are as before; a norm that no batch reaches keeps its statistics.

    Args:
        models (Sequence[nn.Module]): Models that see the same batches (live, EMA), not wrapped;
            changed in place.
        batches (Iterable): Training batches.
        forward (Callable): ``forward(model, batch)`` runs a model.

    Returns:
        int: Number of batches seen.
    """
    norms = [
        module
        for model in models
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats and module.num_features
    ]
    count = 0
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(eval_mode(model))
        for norm in norms:
            stack.enter_context(_averaging(norm))
        for batch in batches:
            for model in models:
                forward(model, batch)
            count += 1
    if count:
        for norm in norms:
            all_reduce(norm.running_mean, 'mean')
            all_reduce(norm.running_var, 'mean')
    return count


@contextmanager
def _averaging(norm: _BatchNorm) -> Iterator[None]:
    """Make a norm average its statistics anew, from the first batch that reaches it."""
    momentum = norm.momentum

    def forget(*_: Any) -> None:
        handle.remove()
        norm.reset_running_stats()

    handle = norm.register_forward_pre_hook(forget)
    norm.momentum = None  # cumulative average
    norm.train()
    try:
        yield
    finally:
        handle.remove()
        norm.momentum = momentum
