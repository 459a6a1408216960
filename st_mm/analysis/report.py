"""A report on what a ticket has kept, over its blocks and layers, as plain values."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from st_mm.measure import Macs, count_macs, count_params
from st_mm.prune import Criterion, matches, prunable_weights
from st_mm.ticket import Ticket
from st_mm.units import find_owners


@dataclass(frozen=True)
class Kept:
    """Search units: how many are alive, and how many the supernet has."""

    alive: int
    total: int


@dataclass(frozen=True)
class Cost:
    """Parameters, and MACs of one picture."""

    params: int
    macs: int


@dataclass(frozen=True)
class Prunable:
    """Weights that pruning may mask: their number, and how many are not zero."""

    total: int
    nonzero: int

    @property
    def density(self) -> float | None:
        """Compute the share that is not zero; None if there are no such weights."""
        return self.nonzero / self.total if self.total else None


@dataclass(frozen=True)
class BlockRow:
    """A part of the network: a unit owner, or layers outside of owners.

    Attributes:
        name (str): Name of the module.
        units (dict[str, Kept]): Search units by group (kernel, tokens); empty for other parts.
        structural (Cost): By the shapes of the checkpoint's tensors.
        nonzero (Cost): Without the zeros.
        weights (Prunable): Its prunable weights.
    """

    name: str
    units: dict[str, Kept]
    structural: Cost
    nonzero: Cost
    weights: Prunable

    @property
    def dead(self) -> bool:
        """Tell whether the part owned search units and has none left."""
        return bool(self.units) and not any(kept.alive for kept in self.units.values())


@dataclass(frozen=True)
class LayerRow:
    """A convolution or linear layer.

    Attributes:
        name (str): Name of the module.
        shape (tuple[int, ...]): Shape of its weight.
        nonzero (int): Values of its weight that are not zero.
        prunable (bool): Whether pruning may mask them.
        macs (int): MACs of all values.
        nonzero_macs (int): MACs of those that are not zero.
    """

    name: str
    shape: tuple[int, ...]
    nonzero: int
    prunable: bool
    macs: int
    nonzero_macs: int

    @property
    def density(self) -> float | None:
        """Compute the share of the weight that is not zero; None for a weight without elements."""
        total = torch.Size(self.shape).numel()
        return self.nonzero / total if total else None


@dataclass(frozen=True)
class Totals:
    """The whole network.

    Attributes:
        dense (Cost): The supernet of the config.
        structural (Cost): The network after the search.
        nonzero (Cost): The network after search and pruning.
        weights (Prunable): Prunable weights after the search.
        units (Kept): Search units of all owners.
        owners (Kept): Owners that have units left.
    """

    dense: Cost
    structural: Cost
    nonzero: Cost
    weights: Prunable
    units: Kept
    owners: Kept

    @property
    def approximate_macs(self) -> int:
        """Compute MACs * (1 - p), the published approximation of the MACs after pruning.

        p is the share of prunable weights that is zero. The approximation assumes that MACs shrink
        as the number of weights does, at every place in the network.
        """
        density = self.weights.density
        return round(self.structural.macs * (1.0 if density is None else density))


@dataclass(frozen=True)
class TicketReport:
    """A report on a network and on the supernet it comes from.

    Attributes:
        model (str): Type of the model.
        input_shape (tuple[int, ...]): (channels, height, width) at which MACs are counted.
        blocks (tuple[BlockRow, ...]): Every part, in the order of the network; their sum is the
            totals.
        layers (tuple[LayerRow, ...]): Every convolution and linear layer.
        totals (Totals): The whole network.
    """

    model: str
    input_shape: tuple[int, ...]
    blocks: tuple[BlockRow, ...]
    layers: tuple[LayerRow, ...]
    totals: Totals

    def to_dict(self) -> dict[str, Any]:
        """Return the report in plain types, for JSON, with densities."""
        plain = asdict(self)
        for entry, block in zip(plain['blocks'], self.blocks, strict=True):
            entry['dead'] = block.dead
            entry['weights']['density'] = block.weights.density
        for entry, layer in zip(plain['layers'], self.layers, strict=True):
            entry['density'] = layer.density
        plain['totals']['weights']['density'] = self.totals.weights.density
        plain['totals']['approximate_macs'] = self.totals.approximate_macs
        return plain


def report(
    supernet: nn.Module, model: nn.Module, ticket: Ticket | None, input_shape: Sequence[int]
) -> TicketReport:
    """Compare a network with the supernet it comes from.

    Args:
        supernet (nn.Module): The model that its config builds, every unit alive.
        model (nn.Module): The same model with the shapes and weights of a checkpoint.
        ticket (Ticket, optional): The record of the checkpoint. It says which weights pruning
            skips, and must agree with the weights. None for a checkpoint without a record.
        input_shape (Sequence[int]): (channels, height, width) of the picture that MACs are
            counted for.

    Returns:
        TicketReport: Blocks, layers and totals.

    Raises:
        ValueError: If the ticket record contradicts the weights, the model has no prunable
            weights, or it cannot take such a picture.
    """
    weights = population(model, ticket)
    if ticket is not None:
        ticket.check(model)
        _check_masks(ticket, weights)
    macs = count_macs(model, input_shape)
    blocks = _block_rows(supernet, model, weights, macs)
    params, nonzero_params = count_params(model)
    units = [kept for block in blocks for kept in block.units.values()]
    owners = [block for block in blocks if block.units]
    totals = Totals(
        dense=Cost(count_params(supernet)[0], count_macs(supernet, input_shape).dense),
        structural=Cost(params, macs.dense),
        nonzero=Cost(nonzero_params, macs.nonzero),
        weights=_prunable(weights),
        units=Kept(sum(kept.alive for kept in units), sum(kept.total for kept in units)),
        owners=Kept(sum(not block.dead for block in owners), len(owners)),
    )
    layers = _layer_rows(model, weights, macs)
    return TicketReport(type(model).__name__, tuple(input_shape), blocks, layers, totals)


def population(model: nn.Module, ticket: Ticket | None) -> dict[str, Tensor]:
    """Collect the weights that densities count: those that the pruning may have masked.

    Args:
        model (nn.Module): The model.
        ticket (Ticket, optional): Its record; None for every prunable weight.

    Returns:
        dict[str, Tensor]: Weights by name.
    """
    config = {} if ticket is None else ticket.config
    masks = {} if ticket is None else ticket.masks
    known = prunable_weights(model, frozen=bool(masks))
    if 'FixedMaskHook' in config:  # it holds the masks of an earlier pruning
        return {name: weight for name, weight in known.items() if name in masks}
    hooks = [config[name] for name in ('ProgressivePruneHook', 'PruneHook') if name in config]
    hook = hooks[0] if hooks else {}
    if ticket is not None and masks and ticket.masks_hold():  # of all that took part
        weights = {name: weight for name, weight in known.items() if name in masks}
    else:
        weights = {n: weight for n, weight in known.items() if not matches(n, hook.get('skip', ()))}
    return Criterion.build(pattern=hook.get('pattern')).fitting(weights)


def _check_masks(ticket: Ticket, weights: Mapping[str, Tensor]) -> None:
    """Refuse a record whose masks are not in the weights."""
    for name, entry in ticket.masks.items():
        if name not in weights or list(weights[name].shape) != list(entry['shape']):
            raise ValueError(
                f"the ticket record has a mask of shape {entry['shape']} for '{name}', which is "
                'not a prunable weight of that shape: the checkpoint was edited'
            )
        if revived := int(torch.count_nonzero(weights[name].detach()[~ticket.mask(name)])):
            raise ValueError(
                f"{revived} masked weights of '{name}' are not zero: the checkpoint was edited or "
                'trained on without its masks (FixedMaskHook holds them)'
            )


def _prunable(weights: Mapping[str, Tensor]) -> Prunable:
    return Prunable(
        sum(weight.numel() for weight in weights.values()),
        sum(int(torch.count_nonzero(weight)) for weight in weights.values()),
    )


def _part_of(name: str, owners: Collection[str]) -> str:
    """Find the part of a module: its innermost owner, else the child of the model's part."""
    parts = name.split('.')
    for depth in range(len(parts), -1, -1):
        if (outer := '.'.join(parts[:depth])) in owners:
            return outer
    return '.'.join(parts[:2])


def _block_rows(
    supernet: nn.Module, model: nn.Module, weights: Mapping[str, Tensor], macs: Macs
) -> tuple[BlockRow, ...]:
    full = {name: owner.unit_groups() for name, owner in find_owners(supernet).items()}
    owners = find_owners(model)
    parameters: dict[str, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        part = _part_of(name.rpartition('.')[0], owners)
        parameters.setdefault(part, []).append(parameter)
    layers: dict[str, list[str]] = {}
    for name in macs.layers:
        layers.setdefault(_part_of(name, owners), []).append(name)
    prunable: dict[str, dict[str, Tensor]] = {}
    for name, weight in weights.items():
        part = _part_of(name.rpartition('.')[0], owners)
        prunable.setdefault(part, {})[name] = weight
    rows = []
    for part in dict.fromkeys((*parameters, *layers)):
        tensors = parameters.get(part, [])
        counted = [macs.layers[name] for name in layers.get(part, [])]
        alive = owners[part].unit_groups() if part in owners else {}
        rows.append(
            BlockRow(
                name=part,
                units={group: Kept(alive[group], full[part][group]) for group in alive},
                structural=Cost(
                    sum(t.numel() for t in tensors), sum(layer.dense for layer in counted)
                ),
                nonzero=Cost(
                    sum(int(torch.count_nonzero(t)) for t in tensors),
                    sum(layer.nonzero for layer in counted),
                ),
                weights=_prunable(prunable.get(part, {})),
            )
        )
    return tuple(rows)


def _layer_rows(
    model: nn.Module, weights: Mapping[str, Tensor], macs: Macs
) -> tuple[LayerRow, ...]:
    rows = []
    for name, module in model.named_modules():
        if not isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            continue
        counted = macs.layers.get(name)
        rows.append(
            LayerRow(
                name=name,
                shape=tuple(module.weight.shape),
                nonzero=int(torch.count_nonzero(module.weight)),
                prunable=f'{name}.weight' in weights,
                macs=counted.dense if counted else 0,
                nonzero_macs=counted.nonzero if counted else 0,
            )
        )
    return tuple(rows)
