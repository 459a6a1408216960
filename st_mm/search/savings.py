"""What the network saves when units go, by resource."""

from collections.abc import Mapping

import torch
from torch import Tensor

from st_mm.units.owner import UnitOwner

from .costs import Cost
from .importance import importance


class Savings:
    """What removing units saves, by resource.

    Args:
        owners (Mapping[str, UnitOwner]): The owners of the units.
        costs (Mapping[str, Cost]): What they cost, by resource.
    """

    def __init__(self, owners: Mapping[str, UnitOwner], costs: Mapping[str, Cost]) -> None:
        self.owners, self.costs = owners, costs

    def saved(self, dead: Mapping[str, Tensor]) -> dict[str, float]:
        """Count what goes with the dead units (bool per owner) together."""
        return {name: cost.saved(self.owners, dead) for name, cost in self.costs.items()}

    def removable(self) -> dict[str, Tensor]:
        """Mark the units that can go together: all but the most important that an owner needs."""
        units = {}
        for name, owner in self.owners.items():
            units[name] = torch.ones(len(owner.unit_bn.weight), dtype=torch.bool)
            units[name][importance(owner).topk(owner.least_units).indices.cpu()] = False
        return units

    def most(self) -> dict[str, float]:
        """Count what goes with all units that can go."""
        return self.saved(self.removable())

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
