"""The report over a searched and pruned network: every figure from a second, plainer count."""

import json

import pytest
import torch
from torch import nn

from st_mm.analysis import tables
from st_mm.analysis.report import Cost, Kept, population, report
from st_mm.hooks import PruneHook
from st_mm.measure import count_macs, count_params
from st_mm.prune import prunable_weights
from st_mm.search import count_units
from st_mm.units import find_owners

SHAPE = (3, 16, 16)


def test_units_by_block_and_kernel(drawn):
    units = {row.name: row.units for row in drawn[3].blocks if row.units}

    assert units == {
        'blocks.0': dict(k3=Kept(0, 16), k5=Kept(12, 16), k7=Kept(16, 16)),
        'blocks.0.shortcut': dict(tokens=Kept(3, 5)),
        'blocks.1': dict(k3=Kept(16, 16), k5=Kept(16, 16), k7=Kept(16, 16)),
        'blocks.2': dict(k3=Kept(0, 32), k5=Kept(0, 32), k7=Kept(0, 32)),
    }
    assert [row.name for row in drawn[3].blocks if row.dead] == ['blocks.2']


def test_totals(drawn):
    supernet, model, _, found = drawn
    totals = found.totals
    weights = prunable_weights(model)
    zeros = sum(int((weight == 0).sum()) for weight in weights.values())
    count = sum(weight.numel() for weight in weights.values())

    assert totals.dense == Cost(count_params(supernet)[0], count_macs(supernet, SHAPE).dense)
    assert totals.structural.params == sum(p.numel() for p in model.parameters())
    assert totals.structural.macs < totals.dense.macs
    assert totals.nonzero.macs == count_macs(model, SHAPE).nonzero
    assert (totals.weights.total, totals.weights.nonzero) == (count, count - zeros)
    assert zeros == int(0.5 * count)
    assert totals.approximate_macs == round(totals.structural.macs * (1 - zeros / count))
    assert totals.units == Kept(count_units(find_owners(model)), 48 + 5 + 48 + 96)
    assert totals.owners == Kept(3, 4)


def test_blocks_add_up_to_the_totals(drawn):
    found = drawn[3]
    for total, rows in (
        (found.totals.structural, [row.structural for row in found.blocks]),
        (found.totals.nonzero, [row.nonzero for row in found.blocks]),
    ):
        assert total == Cost(sum(row.params for row in rows), sum(row.macs for row in rows))
    assert found.totals.weights.total == sum(row.weights.total for row in found.blocks)


def test_layers(drawn):
    rows = {row.name: row for row in drawn[3].layers}

    assert rows['blocks.0.depthwise.k3'].shape == (0, 1, 3, 3)
    assert rows['blocks.0.depthwise.k3'].density is None
    assert [name for name, row in rows.items() if not row.prunable] == ['decode_head.conv_seg']
    stem = rows['stem']
    assert stem.macs == 4 * 3 * 9 * 8 * 8
    assert stem.nonzero_macs == stem.nonzero * 8 * 8


def test_a_model_without_units_or_record(text):
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 2, 1))
    found = report(model, model, None, SHAPE)

    assert [row.name for row in found.blocks] == ['0', '1']
    assert found.totals.units == found.totals.owners == Kept(0, 0)
    assert found.totals.weights.density == 1
    assert 'search' not in text(tables.summary(found))


def test_skipped_weights_are_not_prunable(drawn):
    supernet, model, ticket, found = drawn
    ticket.config['ProgressivePruneHook'] = dict(skip=['stem.weight'])
    del ticket.masks['stem.weight']

    skipped = report(supernet, model, ticket, SHAPE).totals.weights
    assert skipped.total == found.totals.weights.total - model.stem.weight.numel()


def test_a_record_that_contradicts_the_weights_is_refused(drawn):
    supernet, model, ticket, _ = drawn
    with torch.no_grad():
        model.stem.weight[0, 0, 0, 0] = 0
    name = 'blocks.1.expand.weight'
    with torch.no_grad():
        weight = model.get_parameter(name)
        weight.copy_(weight + 1)
    with pytest.raises(ValueError, match=f"masked weights of '{name}' are not zero"):
        report(supernet, model, ticket, SHAPE)

    ticket.units['blocks.1']['k3'].pop()
    with pytest.raises(ValueError, match=r"for 'blocks\.1'"):
        report(supernet, model, ticket, SHAPE)


def test_json_holds_every_figure(drawn):
    found = drawn[3]
    plain = json.loads(json.dumps(found.to_dict()))

    assert plain['totals']['approximate_macs'] == found.totals.approximate_macs
    assert plain['totals']['weights']['density'] == found.totals.weights.density
    assert [block['dead'] for block in plain['blocks']] == [row.dead for row in found.blocks]
    assert plain['layers'][0]['density'] == found.layers[0].density


def test_weights_that_a_pattern_does_not_fit_are_not_counted(drawn):
    _, model, ticket, _ = drawn
    pruner = PruneHook(dict(type='OneShot', ratio=0.5, at=0), pattern='2:4')
    ticket.config = dict(PruneHook=pruner.config())
    everything = prunable_weights(model)
    fitting = [w for w in everything.values() if w.dim() > 1 and w.shape[1] % 4 == 0]
    assert len(population(model, ticket)) == len(fitting) < len(everything)
