"""Scores: pure functions of the weights, higher for what matters more."""

import pytest
import torch
from torch import nn

from st_mm.prune import SCORES, lowest, magnitude, random


def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        'a': nn.Parameter(torch.randn(3, 4, 2, 2, generator=generator)),
        'empty': nn.Parameter(torch.zeros(0, 1, 3, 3)),
        'half': torch.randn(5, 2, generator=generator).half(),
    }


@pytest.mark.parametrize('name', list(SCORES))
def test_protocol(name) -> None:
    given = weights()
    before = {key: weight.detach().clone() for key, weight in given.items()}
    state = torch.get_rng_state()
    scores = SCORES[name](given)
    assert torch.equal(torch.get_rng_state(), state)
    assert list(scores) == list(given)
    for key, score in scores.items():
        assert score.shape == given[key].shape
        assert not score.requires_grad
        assert (score >= 0).all()
        assert torch.equal(given[key], before[key])
        assert score.data_ptr() != given[key].data_ptr() or not score.numel()
    again = SCORES[name](given)
    assert all(torch.equal(again[key], scores[key]) for key in scores)
    assert lowest(scores, 0.5).keys() == given.keys()


def test_magnitude() -> None:
    scores = magnitude(dict(w=torch.tensor([[-2.0, 0.0], [-0.0, 1.5]])))
    assert scores['w'].tolist() == [[2, 0], [0, 1.5]]


def test_random() -> None:
    given = dict(a=torch.zeros(100, 100), b=torch.zeros(100, 100))
    scores = random(given)
    assert not torch.equal(scores['a'], scores['b'])
    for score in scores.values():
        assert score.max() < 1
        assert abs(score.mean().item() - 0.5) < 0.02
        assert abs(score.var().item() - 1 / 12) < 0.005
    assert all(torch.equal(random(given, seed=0)[n], scores[n]) for n in given)
    assert not torch.equal(random(given, seed=1)['a'], scores['a'])
    given['a'] += 1  # the values do not matter
    assert torch.equal(random(given)['a'], scores['a'])


def test_random_reaches_the_ratio() -> None:
    masks = lowest(random(dict(w=torch.zeros(1000, 10))), 0.9)
    assert int((~masks['w']).sum()) == pytest.approx(9000, abs=5)
