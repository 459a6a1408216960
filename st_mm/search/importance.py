"""How important search units are, which of them are dead, and what they cost."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from st_mm.measure.tracing import run_on_shapes
from st_mm.units.owner import UnitOwner, find_owners

Owners = dict[str, UnitOwner]
Size = tuple[int, int]


def count_units(owners: Mapping[str, UnitOwner]) -> int:
    """Count the units that are alive."""
    return sum(sum(owner.unit_groups().values()) for owner in owners.values())


def importance(owner: UnitOwner) -> Tensor:
    """Return the importance r of an owner's units: (units,), |scale| (paper Section 3.1)."""
    scale: Tensor = owner.unit_bn.weight.detach()
    return scale.abs()


def dead_units(
    owners: Mapping[str, UnitOwner], threshold: float, *others: Mapping[str, UnitOwner]
) -> dict[str, Tensor]:
    """Mark the units whose importance is at most ``threshold`` in every copy of the model.

    If an owner needs some units to run, its most important ones stay.

    Args:
        owners (Mapping[str, UnitOwner]): Owners of the live model.
        threshold (float): The largest importance at which a unit is dead (epsilon).
        *others (Mapping[str, UnitOwner]): The same owners in copies of the model (EMA).

    Returns:
        dict[str, Tensor]: (units,) bool per owner, True for dead units.
    """
    dead = {}
    for name, owner in owners.items():
        mask = importance(owner) <= threshold
        for other in others:
            mask = mask & (importance(other[name]) <= threshold).to(mask.device)
        if mask.sum() > len(mask) - owner.least_units:
            mask[importance(owner).topk(owner.least_units).indices] = False
        dead[name] = mask
    return dead


def input_sizes(model: nn.Module, input_shape: Sequence[int]) -> dict[str, Size]:
    """Measure the height and width that every unit owner sees.

    Args:
        model (nn.Module): The model that owns units.
        input_shape (Sequence[int]): (channels, height, width) of one picture.

    Returns:
        dict[str, tuple[int, int]]: Input size per owner.

    Raises:
        ValueError: If the model cannot take the shape, or does not reach an owner.
    """
    sizes: dict[str, Size] = {}
    owners = find_owners(model)

    def note(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        height, width = inputs[0].shape[-2:]
        sizes[name] = (height, width)

    handles = [
        module.register_forward_pre_hook(partial(note, name))
        for name, module in model.named_modules()
        if name in owners
    ]
    try:
        run_on_shapes(model, input_shape)
    finally:
        for handle in handles:
            handle.remove()
    if missing := sorted(set(owners) - set(sizes)):
        raise ValueError(
            f'a picture of shape {tuple(input_shape)} never reaches the search units of '
            f"'{missing[0]}' (and {len(missing) - 1} more)"
        )
    return sizes


def units_macs(owners: Mapping[str, UnitOwner], sizes: Mapping[str, Size]) -> dict[str, Tensor]:
    """Compute the MACs that removing each unit alone saves: (units,) float64 per owner."""
    return {name: owner.unit_macs(sizes[name]) for name, owner in owners.items()}


def unit_costs(owners: Mapping[str, UnitOwner], sizes: Mapping[str, Size]) -> dict[str, Tensor]:
    """Compute the cost of units: their MACs over the mean of all alive (paper Section 3.1).

    The mean counts the MACs of an owner as a whole, as the published code does: tokens that are
    removed one after the other save less and less, and their sum is what the owner costs.

    Args:
        owners (Mapping[str, UnitOwner]): The owners of the units.
        sizes (Mapping[str, tuple[int, int]]): Input size per owner.

    Returns:
        dict[str, Tensor]: (units,) float64 per owner.
    """
    return relative(owners, units_macs(owners, sizes), lambda dead: saved_macs(owners, dead, sizes))


def relative(
    owners: Mapping[str, UnitOwner],
    units: Mapping[str, Tensor],
    saved: Callable[[Mapping[str, Tensor]], float],
) -> dict[str, Tensor]:
    """Divide what units cost by the mean of all alive.

    Args:
        owners (Mapping[str, UnitOwner]): The owners of the units.
        units (Mapping[str, Tensor]): (units,) what each unit alone saves, per owner.
        saved (Callable): What units (bool per owner) together save.

    Returns:
        dict[str, Tensor]: (units,) float64 per owner.
    """
    everything = {
        name: torch.ones_like(owner.unit_bn.weight, dtype=torch.bool)
        for name, owner in owners.items()
    }
    mean = saved(everything) / max(count_units(owners), 1)
    return {name: each / mean if mean else each for name, each in units.items()}


def saved_macs(
    owners: Mapping[str, UnitOwner], dead: Mapping[str, Tensor], sizes: Mapping[str, Size]
) -> float:
    """Compute the MACs that removing the dead units (bool per owner) together saves."""
    return sum(owners[name].saved_macs(sizes[name], mask) for name, mask in dead.items())
