"""Reaping: units that masks have emptied are made dead ones, which can be removed exactly."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from st_mm.units import UnitOwner

Owners = Mapping[str, UnitOwner]


def settled_units(owners: Owners, copies: Sequence[Owners] = ()) -> dict[str, Tensor]:
    """Mark the units whose constant can be folded exactly, in the model and in each copy.

    Args:
        owners (Mapping[str, UnitOwner]): The owners of the units that may go.
        copies (Sequence[Mapping[str, UnitOwner]]): The owners in copies of the model (EMA).

    Returns:
        dict[str, Tensor]: (units,) bool by owner, for owners that can tell. As many stay in each as
        it needs to run.
    """
    marked = {}
    for name, owner in owners.items():
        each: list[Any] = [owner, *(copy[name] for copy in copies)]
        if not all(hasattr(one, 'settled_units') for one in each):
            continue
        gone = torch.stack([one.settled_units().isfinite().cpu() for one in each]).all(0)
        short = owner.least_units - int((~gone).sum())
        if short > 0:
            gone[gone.nonzero().flatten()[:short]] = False
        marked[name] = gone
    return marked


@torch.no_grad()
def settle(owners: Owners, settled: Mapping[str, Tensor]) -> None:
    """Make units dead ones: their constant becomes the bias of a norm whose scale is zero.

    In eval mode the model computes the same. What is dead can be shrunk, and its bias absorbed.

    Args:
        owners (Mapping[str, UnitOwner]): The owners of the units; their norms are changed.
        settled (Mapping[str, Tensor]): (units,) bool by owner.
    """
    for name, units in settled.items():
        owner: Any = owners[name]
        norm, values = owner.unit_bn, owner.settled_units()
        where = units.to(norm.bias.device)
        norm.bias.data[where] = values[where].to(norm.bias)
        norm.weight.data[where] = 0
