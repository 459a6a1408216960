"""The parameters that go with units."""

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor

from st_mm.units.owner import UnitOwner


def units_params(
    owners: Mapping[str, UnitOwner], shapes: Mapping[str, torch.Size]
) -> dict[str, Tensor]:
    """Count the parameters that go with each unit; several together take their sum.

    Args:
        owners (Mapping[str, UnitOwner]): The owners of the units.
        shapes (Mapping[str, torch.Size]): Shape of every parameter of the model, by name.

    Returns:
        dict[str, Tensor]: (units,) float64 per owner.
    """
    found = {}
    for name, owner in owners.items():
        groups = owner.unit_groups()
        counts = dict.fromkeys(groups, 0)
        for tensor, dim, group in owner.unit_slices():
            shape = shapes.get(f'{name}.{tensor}' if name else tensor)
            if shape is not None:  # buffers are no parameters
                for place in groups if group is None else [group]:
                    counts[place] += _of_one(shape, dim)
        each = torch.tensor(list(counts.values()), dtype=torch.float64)
        found[name] = each.repeat_interleave(torch.tensor(list(groups.values())))
    return found


def _of_one(shape: torch.Size, dim: int) -> int:
    """Count the values of a tensor that belong to one unit."""
    return prod(shape[:dim]) * prod(shape[dim + 1 :])
