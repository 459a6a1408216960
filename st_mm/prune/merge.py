"""What is left of the zeros where a network is re-parameterized for deployment (RepVGG, MobileOne).

Parallel branches become one convolution, whose kernel is the sum of theirs: a weight of it is zero
only where all branches agree.
"""

import copy
from contextlib import redirect_stdout
from io import StringIO

import torch
from mmengine.model import BaseModel
from torch import nn

from .prunable import prunable_weights


def merged(model: nn.Module) -> nn.Module | None:
    """Re-parameterize a copy of a model for deployment.

    Args:
        model (nn.Module): The model; left as it is.

    Returns:
        nn.Module: The copy, in eval mode; None if there is nothing to merge, or no merge without
        arguments.
    """
    if not _mergers(model):
        return None
    twin = copy.deepcopy(model)
    twin.eval()  # mm's backbones return nothing here
    before = _size(twin)
    try:
        with torch.no_grad(), redirect_stdout(StringIO()):
            for name in _mergers(twin):
                twin.get_submodule(name).switch_to_deploy()  # type: ignore[operator]
    except (TypeError, AssertionError, AttributeError):
        return None
    return twin if _size(twin) != before else None


def merged_density(model: nn.Module) -> float | None:
    """Share of nonzero weights after the merge, of those that pruning may mask; None without one.

    Args:
        model (nn.Module): The model with masks applied.
    """
    twin = merged(model)
    if twin is None:
        return None
    weights = prunable_weights(twin, frozen=True).values()
    nonzero = sum(int(weight.count_nonzero()) for weight in weights)
    return nonzero / sum(weight.numel() for weight in weights)


def _mergers(model: nn.Module) -> list[str]:
    """Outermost modules that can be switched, and have not been."""
    found: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, BaseModel) or name.startswith(tuple(f'{n}.' for n in found)):
            continue
        if callable(getattr(module, 'switch_to_deploy', None)) and not getattr(
            module, 'deploy', False
        ):
            found.append(name)
    return found


def _size(model: nn.Module) -> int:
    layers = (nn.modules.conv._ConvNd, nn.Linear)
    return sum(m.weight.numel() for m in model.modules() if isinstance(m, layers))
