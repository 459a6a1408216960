"""Recalibrating BN statistics after the network has changed (paper Algorithm 1)."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from st_mm.trainable import adapting_norms

from .no_trace import no_trace
from .training_mode import trains_without_dropout


@torch.no_grad()
def recalibrate(
    models: Sequence[nn.Module],
    batches: Iterable[Any],
    forward: Callable[[nn.Module, Any], Any],
    adapting: Collection[str] | None = None,
) -> int:
    """Replace running statistics by their plain average over some batches.

    The forward is that of training, of which some networks want other outputs than of evaluation,
    but without dropout, so that the statistics are those of the network that will be evaluated.
    They are averaged over all ranks. At the end, all else is as before, whatever a loss may keep:
    queues, averages, counters. A norm that no batch reaches keeps its statistics, and so does one
    whose statistics training does not adapt.

    Args:
        models (Sequence[nn.Module]): Models that see the same batches (live, EMA), not wrapped;
            changed in place.
        batches (Iterable): Training batches.
        forward (Callable): ``forward(model, batch)`` runs a model.
        adapting (Collection[str], optional): Names of the norms to recalibrate, in each model.
            Defaults to None: those that :func:`~st_mm.trainable.adapting_norms` finds in the
            first.

    Returns:
        int: Number of batches seen.
    """
    names = adapting_norms(models[0]) if adapting is None else adapting
    norms = [
        module
        for model in models
        for name, module in model.named_modules()
        if name in names and isinstance(module, _BatchNorm) and module.num_features
    ]
    if not norms:
        return 0
    statistics = [tensor for norm in norms for tensor in norm.buffers(recurse=False)]
    count = 0
    with no_trace(models, but=statistics), ExitStack() as stack:
        for model in models:
            stack.enter_context(trains_without_dropout(model))
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
