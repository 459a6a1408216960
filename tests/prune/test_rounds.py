"""Rounds: a little at a time, which SynFlow needs to keep every layer alive."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from st_mm.prune import Evidence, lowest, magnitude
from st_mm.prune.rounds import iterate
from st_mm.prune.scores import snip, synflow


def network() -> nn.Sequential:
    """A wide layer between narrow ones: all cross-sections share the flow, so its weights have
    little of it each."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(4, 60), nn.ReLU(), nn.Linear(60, 60), nn.ReLU(), nn.Linear(60, 4)
    )


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {n: p for n, p in model.named_parameters() if n.endswith('weight')}


def loss(model: nn.Module, batch: Tensor) -> Tensor:
    return model(batch).square().sum(1).mean()


def evidence_of(model: nn.Module) -> Evidence:
    batches = [torch.randn(8, 4)]
    return Evidence(model, lambda: batches, loss, input_shape=(1, 1, 4))


def dropped(masks: dict[str, Tensor]) -> int:
    return sum(int((~mask).sum()) for mask in masks.values())


@pytest.mark.parametrize('ratio', [0.9, 0.99, 0.995])
def test_synflow_in_rounds_empties_no_layer(ratio) -> None:
    """At 99.5 %, 21 of 4080 weights are left to 3 layers (Tanaka et al. 2020, Section 6)."""
    model = network()
    weights, evidence = weights_of(model), evidence_of(model)
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    masks = iterate(synflow, weights, evidence, ratio, 100, lowest)
    assert dropped(masks) == int(ratio * 4080)
    assert all(mask.any() for mask in masks.values())
    assert all(torch.equal(weights[name], before[name]) for name in weights)
    kept = {name: weight.detach() * masks[name] for name, weight in weights.items()}
    assert all(score.sum() > 0.999 for score in synflow(kept, evidence).values())


def test_one_round_of_synflow_empties_a_layer() -> None:
    model = network()
    masks = iterate(synflow, weights_of(model), evidence_of(model), 0.99, 1, lowest)
    assert not masks['3.weight'].any()


@pytest.mark.parametrize('score', [magnitude, snip, synflow])
def test_one_round_is_one_choice(score) -> None:
    model = network()
    weights, evidence = weights_of(model), evidence_of(model)
    masks = iterate(score, weights, evidence, 0.7, 1, lowest)
    expected = lowest(score(weights, evidence), 0.7)
    assert all(torch.equal(masks[name], expected[name]) for name in weights)


@pytest.mark.parametrize(
    ('start', 'targets'),
    [(0.0, [0.5, 0.75, 0.875, 0.9375]), (0.5, [0.702698, 0.823223, 0.894888, 0.9375])],
)
def test_schedule(start, targets) -> None:
    seen = []

    def choose(scores: dict[str, Tensor], ratio: float) -> dict[str, Tensor]:
        seen.append(ratio)
        return lowest(scores, ratio)

    weights = dict(w=torch.randn(64))
    model = nn.Identity()
    iterate(magnitude, weights, evidence_of(model), 0.9375, 4, choose, start)
    assert seen == pytest.approx(targets, abs=1e-6)
    assert seen[-1] == 0.9375


def test_each_round_scores_what_is_left() -> None:
    """What was dropped is zero, stays dropped whatever it scores, and the rest is scored anew."""
    weights = dict(w=torch.arange(1.0, 9))
    seen = []

    def falling(kept: dict[str, Tensor], evidence: Evidence) -> dict[str, Tensor]:
        seen.append(kept['w'].tolist())
        return dict(w=-kept['w'])  # zeros would rank first

    masks = iterate(falling, weights, evidence_of(nn.Identity()), 0.75, 2, lowest)
    assert seen == [[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 0, 0, 0, 0]]
    assert masks['w'].tolist() == [True, True, *[False] * 6]


@pytest.mark.parametrize('ratio', [0.2, 0.5])
def test_refit_at_or_below_the_start(ratio) -> None:
    weights = dict(w=torch.randn(100))
    masks = iterate(magnitude, weights, evidence_of(nn.Identity()), ratio, 5, lowest, start=0.5)
    expected = lowest(magnitude(weights), ratio)
    assert torch.equal(masks['w'], expected['w'])


def test_rounds_of_snip_differ_from_one() -> None:
    model = network()
    weights, evidence = weights_of(model), evidence_of(model)
    prune = partial(iterate, snip, weights, evidence, 0.95, choose=lowest)
    first, again, one = prune(rounds=10), prune(rounds=10), prune(rounds=1)
    assert all(torch.equal(first[name], again[name]) for name in weights)
    assert not all(torch.equal(first[name], one[name]) for name in weights)
    assert dropped(first) == dropped(one)


def test_no_rounds() -> None:
    with pytest.raises(ValueError, match='rounds must be at least 1, got 0'):
        iterate(magnitude, dict(w=torch.ones(2)), evidence_of(nn.Identity()), 0.5, 0, lowest)
