"""What two tickets share: every figure from weights that know their place in the supernet."""

import copy
import json
from typing import NamedTuple

import pytest
import torch
from torch import nn

from st_mm.analysis.compare import compare
from st_mm.hooks import ProgressivePruneHook
from st_mm.models import AtomicBlock
from st_mm.prune import Masks, prunable_weights
from st_mm.search import shrink
from st_mm.ticket import Ticket
from st_mm.units import find_owners


def network(stem: int = 4, expand_ratio: int = 2) -> nn.Module:
    """A stem, blocks of which one has tokens, and a task classifier."""
    model = nn.Module()
    model.stem = nn.Conv2d(3, stem, 3)
    model.blocks = nn.Sequential(
        AtomicBlock(stem, 4, tokens=5), AtomicBlock(4, 4, expand_ratio=expand_ratio)
    )
    model.decode_head = nn.Module()
    model.decode_head.conv_seg = nn.Conv2d(4, 3, 1)
    for weight in prunable_weights(model).values():  # each value is its place
        weight.data = torch.arange(weight.numel()).reshape(weight.shape).float()
    return model


class Drawn(NamedTuple):
    """A ticket, and the places of its weights in the supernet."""

    ticket: Ticket
    places: dict[str, torch.Tensor]
    kept: dict[str, torch.Tensor]


def draw(supernet: nn.Module, seed: int, searches: int = 2, pruned: bool = True) -> Drawn:
    """Remove a third of the units at each search, at random; then mask half the weights."""
    generator = torch.Generator().manual_seed(seed)
    model, ticket = copy.deepcopy(supernet), Ticket.of_supernet(supernet)
    for _ in range(searches):
        dead = {
            name: torch.rand(owner.unit_bn.weight.shape, generator=generator) < 1 / 3
            for name, owner in find_owners(model).items()
        }
        shrink(model, dead, absorb=False)
        ticket.remove(dead)
    places = {name: weight.detach().clone() for name, weight in prunable_weights(model).items()}
    kept = {n: torch.rand(place.shape, generator=generator) < 0.5 for n, place in places.items()}
    if pruned:
        masks = Masks(prunable_weights(model))
        masks.update(kept)
        ticket.masks = masks.state()
    return Drawn(ticket, places, kept)


def units_of(ticket: Ticket, owner: str) -> set[tuple[str, int]]:
    return {(group, unit) for group, units in ticket.units[owner].items() for unit in units}


@pytest.mark.parametrize(('first_searches', 'second_searches'), [(0, 0), (0, 2), (1, 2), (2, 2)])
def test_figures_are_those_of_sets_of_places(first_searches: int, second_searches: int) -> None:
    supernet = network()
    first, second = draw(supernet, 0, first_searches), draw(supernet, 1, second_searches)
    found = compare(first.ticket, second.ticket, supernet, network())

    assert [row.name for row in found.blocks] == list(find_owners(supernet))
    for row in found.blocks:
        ours, theirs = (units_of(side.ticket, row.name) for side in (first, second))
        assert row.total == sum(first.ticket.total[row.name].values())
        assert row.both == len(ours & theirs)
        assert (row.first_only, row.second_only) == (len(ours - theirs), len(theirs - ours))
        assert row.iou == len(ours & theirs) / len(ours | theirs)
    assert [row.name for row in found.layers] == [n.removesuffix('.weight') for n in first.places]
    for row in found.layers:
        name = f'{row.name}.weight'
        sides = [(side.places[name], side.kept[name]) for side in (first, second)]
        shared = set.intersection(*(set(places.flatten().tolist()) for places, _ in sides))
        ours, theirs = (set(places[kept].tolist()) & shared for places, kept in sides)
        assert row.total == len(shared)
        assert row.both == len(ours & theirs)
        assert row.flips == len(ours ^ theirs)
        assert row.iou == (len(ours & theirs) / len(ours | theirs) if ours | theirs else 1)
    for side, density in zip((first, second), found.densities, strict=True):
        kept = sum(int(mask.sum()) for mask in side.kept.values())
        assert density == kept / sum(mask.numel() for mask in side.kept.values())


def test_totals_are_sums_and_all_is_json() -> None:
    supernet = network()
    first, second = draw(supernet, 0).ticket, draw(supernet, 1).ticket
    found = compare(first, second, supernet, network())
    for rows, total in ((found.blocks, found.units), (found.layers, found.weights)):
        for figure in ('total', 'both', 'first_only', 'second_only', 'flips'):
            assert getattr(total, figure) == sum(getattr(row, figure) for row in rows) > 0
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain['weights']['iou'] == found.weights.iou < 1
    assert plain['units']['flips'] == found.units.flips
    assert plain['densities'] == list(found.densities)


def test_a_ticket_and_itself() -> None:
    supernet = network()
    ticket = draw(supernet, 0).ticket
    found = compare(ticket, copy.deepcopy(ticket), supernet, network())
    for row in (*found.blocks, *found.layers, found.units, found.weights):
        assert (row.flips, row.iou) == (0, 1.0), row.name
    assert found.densities[0] == found.densities[1] < 1


def test_a_pruned_ticket_and_what_it_was_before() -> None:
    supernet = network()
    pruned, whole = draw(supernet, 0).ticket, draw(supernet, 0, pruned=False).ticket
    found = compare(whole, pruned, supernet, network())
    assert found.units.flips == found.weights.second_only == 0
    assert found.densities == (1.0, found.weights.iou)


def test_tickets_that_have_lost_a_block() -> None:
    """Nothing is left to compare there, so nothing differs."""
    supernet = network()
    tickets = [Ticket.of_supernet(supernet) for _ in range(2)]
    dead = torch.ones_like(find_owners(supernet)['blocks.1'].unit_bn.weight, dtype=torch.bool)
    for ticket in tickets:
        ticket.remove({'blocks.1': dead})
    found = compare(*tickets, supernet, network())
    row = next(row for row in found.layers if row.name == 'blocks.1.expand')
    assert (row.total, row.both, row.flips, row.iou) == (0, 0, 0, 1.0)


def test_weights_that_both_skip_are_left_out() -> None:
    supernet = network()
    first, second = draw(supernet, 0), draw(supernet, 1)
    for side, skip in ((first, ['stem.*', 'blocks.1.*']), (second, ['stem.*'])):
        for name in [n for n in side.ticket.masks if n.startswith(tuple(s[:-1] for s in skip))]:
            del side.ticket.masks[name]
        hook = ProgressivePruneHook(ratio=0.5, interval=1, step=0.5, skip=skip)
        side.ticket.config = dict(ProgressivePruneHook=hook.config())
    found = compare(first.ticket, second.ticket, supernet, network())
    names = {row.name for row in found.layers}
    assert 'stem' not in names
    assert 'blocks.1.expand' in names
    pruned = [mask for name, mask in first.kept.items() if name.startswith('blocks.0.')]
    kept = sum(int(mask.sum()) for mask in pruned)
    assert found.densities[0] == kept / sum(mask.numel() for mask in pruned)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(expand_ratio=3), r"different supernets: 'blocks\.1' has the units .* 8.* and .* 12"),
        (dict(stem=6), r"different supernets: 'blocks\.0' has the units"),
    ],
)
def test_different_supernets(change: dict, message: str) -> None:
    supernet, other = network(), network(**change)
    with pytest.raises(ValueError, match=message):
        compare(draw(supernet, 0).ticket, draw(other, 0).ticket, supernet, other)


def test_supernets_with_the_same_units_and_other_weights() -> None:
    supernet, other = network(), network()
    other.stem = nn.Conv2d(1, 4, 3)
    with pytest.raises(ValueError, match=r"'stem\.weight' has the shape \(4, 3, 3, 3\) in"):
        compare(draw(supernet, 0).ticket, draw(other, 0).ticket, supernet, other)
