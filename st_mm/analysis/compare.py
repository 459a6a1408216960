"""What two tickets of one supernet have in common: their units, and their masks over weights."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from st_mm.prune import prunable_weights
from st_mm.rewind import surplus_units
from st_mm.search.shrink import Cut, plan_cuts
from st_mm.ticket import Ticket
from st_mm.units import find_owners

from .report import population


@dataclass(frozen=True)
class Overlap:
    """What two tickets have kept of the same things: units, or weights.

    Attributes:
        name (str): The unit owner or the layer; empty for all together.
        total (int): Number of things that could be kept: the units of the supernet, or the weights
            of units that both tickets have.
        both (int): Kept by both tickets.
        first_only (int): Kept only by the first.
        second_only (int): Kept only by the second.
    """

    name: str
    total: int
    both: int
    first_only: int
    second_only: int

    @property
    def flips(self) -> int:
        """Count the things that one ticket has kept and the other has not."""
        return self.first_only + self.second_only

    @property
    def iou(self) -> float:
        """Compute the share kept by both among those kept by either; 1 if nothing is kept."""
        either = self.both + self.flips
        return self.both / either if either else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the figures in plain types, with flips and IoU."""
        return dict(asdict(self), flips=self.flips, iou=self.iou)


@dataclass(frozen=True)
class Comparison:
    """A comparison of two tickets.

    Attributes:
        blocks (tuple[Overlap, ...]): The search units of every owner.
        units (Overlap): All search units.
        layers (tuple[Overlap, ...]): Every layer that either may prune, over the weights that both
            have: those of a unit that one of them lacks are not compared.
        weights (Overlap): All these weights.
        densities (tuple[float | None, float | None]): Share of its own prunable weights that each
            ticket has not masked; None where it has no such weights.
    """

    blocks: tuple[Overlap, ...]
    units: Overlap
    layers: tuple[Overlap, ...]
    weights: Overlap
    densities: tuple[float | None, float | None]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison in plain types, for JSON."""
        return dict(
            blocks=[row.to_dict() for row in self.blocks],
            units=self.units.to_dict(),
            layers=[row.to_dict() for row in self.layers],
            weights=self.weights.to_dict(),
            densities=list(self.densities),
        )


def compare(first: Ticket, second: Ticket, supernet: nn.Module, other: nn.Module) -> Comparison:
    """Compare two tickets by the places of their units in the supernet.

    Args:
        first (Ticket): A record that fits its weights.
        second (Ticket): Another one.
        supernet (nn.Module): What the first was drawn from, every unit alive.
        other (nn.Module): The same for the second.

    Returns:
        Comparison: Units, masks and densities.

    Raises:
        ValueError: Naming the first unit owner, else the first weight, in which the supernets
            differ.
    """
    _check_supernets(first, second, supernet, other)
    owners, weights = find_owners(supernet), prunable_weights(supernet, frozen=True)
    full = Ticket.of_supernet(supernet).units
    lost, other_lost = surplus_units(first, full), surplus_units(second, full)
    blocks = [_overlap(name, ~lost[name], ~other_lost[name]) for name in owners]

    cuts, other_cuts = plan_cuts(owners, lost), plan_cuts(owners, other_lost)
    shared = plan_cuts(owners, {name: lost[name] | other_lost[name] for name in owners})
    own, others = (population(supernet, ticket) for ticket in (first, second))
    kept, other_kept = _kept(first, weights, cuts), _kept(second, weights, other_cuts)
    layers = []
    for name in weights:
        if name in own or name in others:
            cut = _cut(shared, name, weights[name])
            masks = cut(kept[name]), cut(other_kept[name])
            layers.append(_overlap(name.removesuffix('.weight'), *masks))
    return Comparison(
        blocks=tuple(blocks),
        units=_sum(blocks),
        layers=tuple(layers),
        weights=_sum(layers),
        densities=(_density(own, cuts, kept), _density(others, other_cuts, other_kept)),
    )


def _check_supernets(first: Ticket, second: Ticket, supernet: nn.Module, other: nn.Module) -> None:
    """Refuse tickets whose units or weights do not correspond."""
    sides = (
        (first.total, second.total, 'the units'),
        (_shapes(supernet), _shapes(other), 'the shape'),
    )
    for ours, theirs, what in sides:
        for name in (*ours, *theirs):
            if ours.get(name) != theirs.get(name):
                raise ValueError(
                    f"the tickets are of different supernets: '{name}' has {what} "
                    f'{ours.get(name)} in the first and {theirs.get(name)} in the second; compare '
                    'tickets of one config'
                )


def _shapes(model: nn.Module) -> Mapping[str, Any]:
    return {
        name: tuple(weight.shape) for name, weight in prunable_weights(model, frozen=True).items()
    }


def _cut(cuts: Mapping[str, Cut], name: str, weight: Tensor) -> Cut:
    """Return the cut of a weight; one that removes nothing if all its units are there."""
    return cuts.get(name) or Cut(0, torch.arange(weight.shape[0]))


def _kept(
    ticket: Ticket, weights: Mapping[str, Tensor], cuts: Mapping[str, Cut]
) -> dict[str, Tensor]:
    """Expand a ticket's masks to the supernet's shapes, False where the unit is removed."""
    kept = {}
    for name, weight in weights.items():
        cut = _cut(cuts, name, weight)
        everything = torch.ones_like(weight, dtype=torch.bool)
        mask = ticket.mask(name) if name in ticket.masks else cut(everything)
        kept[name] = torch.zeros_like(everything).index_copy(cut.dim, cut.keep, mask)
    return kept


def _density(
    weights: Mapping[str, Tensor], cuts: Mapping[str, Cut], kept: Mapping[str, Tensor]
) -> float | None:
    total = sum(_cut(cuts, name, weight)(weight).numel() for name, weight in weights.items())
    return sum(int(kept[name].sum()) for name in weights) / total if total else None


def _overlap(name: str, first: Tensor, second: Tensor) -> Overlap:
    return Overlap(
        name,
        total=first.numel(),
        both=int((first & second).sum()),
        first_only=int((first & ~second).sum()),
        second_only=int((~first & second).sum()),
    )


def _sum(rows: Sequence[Overlap]) -> Overlap:
    return Overlap(
        '',
        total=sum(row.total for row in rows),
        both=sum(row.both for row in rows),
        first_only=sum(row.first_only for row in rows),
        second_only=sum(row.second_only for row in rows),
    )
