"""What the network saves when units go, by resource."""

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor

from st_mm.units.owner import UnitOwner

from .importance import Size, importance, saved_macs
from .shrink import plan_cuts


class Savings:
    """What removing units saves, by resource.

    Args:
        owners (Mapping[str, UnitOwner]): The owners of the units.
        sizes (Mapping[str, tuple[int, int]]): Input size per owner.
        shapes (Mapping[str, torch.Size]): Shape of every parameter of the model, by name.
    """

    def __init__(
        self,
        owners: Mapping[str, UnitOwner],
        sizes: Mapping[str, Size],
        shapes: Mapping[str, torch.Size],
    ) -> None:
        self.owners, self.sizes, self.shapes = owners, sizes, shapes

    def saved(self, dead: Mapping[str, Tensor]) -> dict[str, float]:
        """Count what goes with the dead units (bool per owner) together."""
        params = 0
        for name, cut in plan_cuts(self.owners, dead).items():
            if name in self.shapes:
                shape = self.shapes[name]
                gone = shape[cut.dim] - len(cut.keep)
                params += prod(shape[: cut.dim]) * gone * prod(shape[cut.dim + 1 :])
        return dict(macs=saved_macs(self.owners, dead, self.sizes), params=params)

    def most(self) -> dict[str, float]:
        """Count what goes with all units that can go."""
        dead = {}
        for name, owner in self.owners.items():
            dead[name] = torch.ones(len(owner.unit_bn.weight), dtype=torch.bool)
            dead[name][: owner.least_units] = False
        return self.saved(dead)

    def first(self, dead: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
        """Choose the least important of the dead units; of equals, the first."""
        names = list(dead)
        flat = torch.cat([dead[name].cpu() for name in names])
        scores = torch.cat([importance(self.owners[name]).cpu() for name in names]).double()
        order = scores.masked_fill(~flat, torch.inf).argsort(stable=True)
        chosen = torch.zeros_like(flat)
        chosen[order[:number]] = True
        parts = chosen.split([len(dead[name]) for name in names])
        return {n: part.to(dead[n].device) for n, part in zip(names, parts, strict=True)}
