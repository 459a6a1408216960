"""What bounds the steps of an optimizer: the gradient, or its learning rate alone."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import ASGD, SGD, Optimizer

PROPORTIONAL = (SGD, ASGD)


def proportional(optimizer: Optimizer) -> bool:
    """Whether a gradient of twice the size makes a step of twice the size: SGD and its heirs.

    All others count as normalizing: Adam and its family, RMSprop, Adagrad, LAMB, LARS, Lion and so
    on divide a gradient by its own size, so that their learning rate bounds a step.

    Args:
        optimizer (Optimizer): The optimizer, or a ``ZeroRedundancyOptimizer`` around one.
    """
    return isinstance(getattr(optimizer, 'optim', optimizer), PROPORTIONAL)


def way_of_gradient(
    optimizer: Optimizer, parameter: Tensor, group: Mapping[str, Any]
) -> tuple[float, Tensor | None]:
    """Work out how far a gradient takes a parameter, of an optimizer whose steps are proportional.

    One gradient g, and none after it, takes it ``-(g + carried) / whole`` far in the end, whatever
    ``momentum``, ``dampening`` and ``nesterov`` are.

    Args:
        optimizer (Optimizer): SGD or ASGD.
        parameter (Tensor): The parameter.
        group (Mapping[str, Any]): Its group.

    Returns:
        tuple[float, Tensor | None]: ``whole`` and ``carried``, of the parameter's shape; None if
        momentum carries nothing, or where shards of the optimizer know it on one rank alone. With
        a learning rate of 0 both are of no way at all: 0 and None.
    """
    if not group['lr']:
        return 0.0, None
    inertia = group.get('momentum', 0)  # ASGD has none
    if not inertia:
        return 1 / group['lr'], None
    sharded = hasattr(optimizer, 'optim')
    buffer = None if sharded else optimizer.state.get(parameter, {}).get('momentum_buffer')
    first = buffer is None and not sharded  # torch begins with all of the first gradient
    taken = (1 if first else 1 - group.get('dampening', 0)) or 1  # at 0 nothing moves at all
    whole = (1 - inertia) / (group['lr'] * taken)
    if buffer is None:
        return whole, None
    return whole, buffer * ((inertia**2 if group.get('nesterov') else inertia) / taken)
