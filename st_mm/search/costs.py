"""What a unit costs: MACs, parameters, time on a device, or what a registered function says."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import signature
from typing import Any, Protocol

import torch
from mmengine.registry import Registry
from torch import Tensor, nn

from st_mm.arguments import choice
from st_mm.measure import count_macs
from st_mm.units.owner import UnitOwner

from .importance import Size, relative, saved_macs, units_macs
from .latency_table import LatencyTable
from .parameters import units_params

Owners = Mapping[str, UnitOwner]
Sizes = Mapping[str, Size]

COSTS = Registry('cost', scope='st_mm')
"""Costs by name. One is a function ``cost(owner, input_size, **options)`` that gives (units,)
numbers, what each unit of an owner costs at an input (height, width). It returns the same on every
rank. To add one, register it in a module of ``custom_imports``::

    @COSTS.register_module()
    def memory(owner, input_size):
        height, width = input_size
        return torch.full(owner.unit_bn.weight.shape, 4.0 * height * width)
"""

# figures of a search step in log and record, beside which the cost stands by its name
FIGURES = ('kind', 'unit', 't', 'removed', 'units', 'penalty', 'pull', 'way')


class Cost(Protocol):
    """What the units of a model cost, and what all of it does."""

    name: str

    def units(self, owners: Owners) -> dict[str, Tensor]:
        """Compute what goes with each unit alone: (units,) float64 per owner."""
        ...

    def saved(self, owners: Owners, dead: Mapping[str, Tensor]) -> float:
        """Compute what goes with the dead units (bool per owner) together."""
        ...

    def total(self) -> float:
        """Compute what the model costs now."""
        ...


class Macs:
    """Multiply-accumulates of one picture, masked weights counted.

    Args:
        model (nn.Module): The model that owns the units.
        sizes (Mapping[str, tuple[int, int]]): Input size per owner.
        input_shape (Sequence[int]): (channels, height, width) of the picture.
    """

    name = 'macs'

    def __init__(self, model: nn.Module, sizes: Sizes, input_shape: Sequence[int]) -> None:
        self.model, self.sizes, self.input_shape = model, sizes, input_shape

    def units(self, owners: Owners) -> dict[str, Tensor]:
        """Compute the MACs that go with each unit alone."""
        return units_macs(owners, self.sizes)

    def saved(self, owners: Owners, dead: Mapping[str, Tensor]) -> float:
        """Compute the MACs that go with the dead units together."""
        return saved_macs(owners, dead, self.sizes)

    def total(self) -> float:
        """Count the MACs of the model."""
        return count_macs(self.model, self.input_shape).dense


class Params:
    """Parameters, masked weights counted.

    Args:
        model (nn.Module): The model that owns the units.
    """

    name = 'params'

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def units(self, owners: Owners) -> dict[str, Tensor]:
        """Count the parameters that go with each unit alone."""
        shapes = {name: parameter.shape for name, parameter in self.model.named_parameters()}
        return units_params(owners, shapes)

    def saved(self, owners: Owners, dead: Mapping[str, Tensor]) -> float:
        """Count the parameters that go with the dead units together: their sum."""
        return _sum_of(self.units(owners), dead)

    def total(self) -> float:
        """Count the parameters of the model."""
        return sum(parameter.numel() for parameter in self.model.parameters())


class Latency:
    """Seconds on a device, interpolated between those that were measured there.

    Args:
        owners (Mapping[str, UnitOwner]): All owners of the model.
        table (LatencyTable): What was measured.
    """

    name = 'latency'

    def __init__(self, owners: Owners, table: LatencyTable) -> None:
        self.owners, self.table = owners, table

    def units(self, owners: Owners) -> dict[str, Tensor]:
        """Share out the time that goes with all units of a kernel among them."""
        found = {}
        for name, owner in owners.items():
            parts = []
            for group, count in owner.unit_groups().items():
                part = self.table.saved(name, group, count, 0) / max(count, 1)
                parts.append(torch.full((count,), part, dtype=torch.float64))
            found[name] = torch.cat(parts)
        return found

    def saved(self, owners: Owners, dead: Mapping[str, Tensor]) -> float:
        """Compute the seconds that go with the dead units together."""
        saved = 0.0
        for name, mask in dead.items():
            groups = owners[name].unit_groups()
            parts = mask.cpu().split(list(groups.values()))
            for (group, count), part in zip(groups.items(), parts, strict=True):
                saved += self.table.saved(name, group, count, count - int(part.sum()))
        return saved

    def total(self) -> float:
        """Compute the seconds of the model: those of the whole one, less what has gone."""
        widths = {name: owner.unit_groups() for name, owner in self.owners.items()}
        return self.table.total(widths)


class ByFunction:
    """What a registered function says; all that the model costs is the sum over its units.

    Args:
        name (str): Its name.
        function (Callable): ``function(owner, input_size)``.
        owners (Mapping[str, UnitOwner]): All owners of the model.
        sizes (Mapping[str, tuple[int, int]]): Input size per owner.
    """

    def __init__(
        self, name: str, function: Callable[..., Any], owners: Owners, sizes: Sizes
    ) -> None:
        self.name, self.function = name, function
        self.owners, self.sizes = owners, sizes

    def units(self, owners: Owners) -> dict[str, Tensor]:
        """Ask the function, and check what it answers.

        Raises:
            ValueError: If it is not one number of 0 or more for each unit.
        """
        found = {}
        for name, owner in owners.items():
            costs = torch.as_tensor(self.function(owner, self.sizes[name])).detach().cpu().double()
            units = owner.unit_bn.weight.shape
            if costs.shape != units or not (costs.isfinite() & (costs >= 0)).all():
                raise ValueError(
                    f"the cost {self.name!r} must be {units[0]} numbers of 0 or more for '{name}', "
                    f'one for each unit, got {_words(costs)}'
                )
            found[name] = costs
        return found

    def saved(self, owners: Owners, dead: Mapping[str, Tensor]) -> float:
        """Add up what the dead units cost."""
        return _sum_of(self.units(owners), dead)

    def total(self) -> float:
        """Add up what all units of the model cost now."""
        return sum(float(costs.sum()) for costs in self.units(self.owners).values())


def check_cost(cost: Any) -> dict[str, Any]:
    """Check what a config says of the cost.

    Args:
        cost (str | Mapping): A name, or a dict of ``type`` and options: ``'macs'``, ``'params'``,
            ``dict(type='latency', table='file.json')``, or a name in :data:`COSTS`.

    Returns:
        dict[str, Any]: ``type`` and options.

    Raises:
        ValueError: If it is something else, or an option is missing or unknown.
    """
    if not isinstance(cost, str | Mapping):
        raise ValueError(f"cost must be a name, or a dict with a 'type', got {cost!r}")
    options: dict[str, Any] = dict(type=cost) if isinstance(cost, str) else dict(cost)
    name = options.pop('type', None)
    known: dict[str, Callable[..., None]] = dict(
        macs=lambda: None, params=lambda: None, latency=lambda table: None
    )
    choice('cost', name, [*known, *sorted(COSTS.module_dict)])
    ours = name in known and name in COSTS.module_dict
    if ours or name in FIGURES or name.startswith('start_'):
        raise ValueError(
            f'cost must have a name of its own, but {name!r} is what a search step calls another '
            "figure: register the function by another name, @COSTS.register_module('NAME')"
        )
    try:
        if name in known:
            signature(known[name]).bind(**options)
        else:
            function: Any = COSTS.get(name)
            signature(function).bind(None, None, **options)
    except TypeError as error:
        raise ValueError(f'cost must have options that {name} takes: {error}') from error
    return dict(type=name, **options)


def build_cost(
    cost: Mapping[str, Any],
    model: nn.Module,
    owners: Owners,
    sizes: Sizes,
    input_shape: Sequence[int],
) -> Cost:
    """Build the cost of a config, for a model.

    Args:
        cost (Mapping[str, Any]): As of :func:`check_cost`.
        model (nn.Module): The model.
        owners (Mapping[str, UnitOwner]): Its owners of units.
        sizes (Mapping[str, tuple[int, int]]): Input size per owner.
        input_shape (Sequence[int]): (channels, height, width) of one picture.

    Raises:
        ValueError: If a table of latencies is missing, or of another network.
    """
    options = dict(cost)
    name = options.pop('type')
    if name == 'macs':
        return Macs(model, sizes, input_shape)
    if name == 'params':
        return Params(model)
    if name == 'latency':
        table = LatencyTable.read(options['table'])
        widths = {owner_name: owner.unit_groups() for owner_name, owner in owners.items()}
        table.check(widths, input_shape)
        return Latency(owners, table)
    return ByFunction(name, partial(COSTS.get(name), **options), owners, sizes)


def relative_costs(cost: Cost, owners: Owners) -> dict[str, Tensor]:
    """Compute the cost of units over the mean of all alive: what the penalty is weighted with.

    Args:
        cost (Cost): What a unit costs.
        owners (Mapping[str, UnitOwner]): The owners that take part.

    Returns:
        dict[str, Tensor]: (units,) float64 per owner.
    """
    return relative(owners, cost.units(owners), partial(cost.saved, owners))


def _sum_of(costs: Mapping[str, Tensor], dead: Mapping[str, Tensor]) -> float:
    return sum(float(costs[name][mask.cpu()].sum()) for name, mask in dead.items())


def _words(costs: Tensor) -> str:
    if costs.isfinite().all() and not (costs < 0).any():
        return f'a tensor of shape {tuple(costs.shape)}'
    return f'{float(costs[~costs.isfinite() | (costs < 0)][0]):g}'
