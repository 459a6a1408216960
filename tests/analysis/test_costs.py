"""The cost card against plainer counts, and against mmengine's own counter."""

import json

import pytest
import torch
from mmengine.analysis import FlopAnalyzer
from mmpretrain import get_model

from st_mm.analysis.costs import cost_card
from st_mm.measure import count_macs, count_params

SHAPE = (3, 16, 16)


def test_three_states(drawn) -> None:
    supernet, model, ticket, found = drawn
    card = cost_card(supernet, model, ticket, SHAPE)

    assert card.dense == found.totals.dense
    assert card.structural == found.totals.structural
    assert card.nonzero == found.totals.nonzero
    assert card.density == found.totals.weights.density
    assert card.approximate_macs == found.totals.approximate_macs
    for state in ('dense', 'structural', 'nonzero'):
        assert sum(getattr(layer, state) for layer in card.layers) == getattr(card, state).macs
    assert json.loads(json.dumps(card.to_dict()))['approximate_macs'] == card.approximate_macs


def test_layers_that_the_search_emptied_are_listed(drawn) -> None:
    supernet, model, ticket, _ = drawn
    layers = {layer.name: layer for layer in cost_card(supernet, model, ticket, SHAPE).layers}
    assert layers['blocks.2.expand'].dense
    assert not layers['blocks.2.expand'].structural


def test_the_table_says_that_the_approximation_flatters(drawn, text) -> None:
    supernet, model, ticket, _ = drawn
    pruned, dense = (
        text(cost_card(supernet, each, record, SHAPE).table().terminal())
        for each, record in ((model, ticket), (supernet, None))
    )
    assert '24.5 % of the MACs remain at 10 %' in ' '.join(pruned.split())
    assert 'MACs x 0.5' in pruned
    assert '1 - p' not in dense


@pytest.mark.slow
@pytest.mark.parametrize('name', ['resnet18_8xb32_in1k', 'mobilenet-v2_8xb32_in1k'])
def test_convolutions_and_linear_layers_are_those_of_mmengine(name: str) -> None:
    model = get_model(name).eval()
    theirs = FlopAnalyzer(model, torch.zeros(1, 3, 64, 64)).by_operator()
    card = cost_card(model, model, None, (3, 64, 64))

    assert card.dense == card.structural == card.nonzero
    assert card.dense.macs == theirs['conv'] + theirs['linear']
    assert card.dense.params == count_params(model)[0]
    assert card.dense.macs == count_macs(model, (3, 64, 64)).dense
