"""Straight-through masks by themselves: what runs, what is latent, and what a file has of both."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from st_mm.prune import Masks, StraightThrough, lowest

FEW = settings(max_examples=40, deadline=None, derandomize=True)


def build(seed: int, soft: bool) -> tuple[Masks, StraightThrough]:
    """Masks at half over two weights and a copy of them, which learn."""
    generator = torch.Generator().manual_seed(seed)
    first, copy = ({n: torch.randn(3, 4, generator=generator) for n in 'ab'} for _ in range(2))
    masks = Masks(first, [copy])
    masks.update(lowest({name: weight.abs() for name, weight in first.items()}, 0.5))
    through = StraightThrough(masks, 'ab', soft)
    through.hold()
    return masks, through


@FEW
@given(st.integers(0, 1000), st.booleans())
def test_lift_and_lower_undo_each_other(seed: int, soft: bool) -> None:
    masks, through = build(seed, soft)
    runs = [{n: w.clone() for n, w in weights.items()} for weights in masks.sets]
    latent = [{n: w.clone() for n, w in values.items()} for values in masks.latent]
    through.lift()
    for name in 'ab':
        assert torch.equal(masks.sets[0][name], latent[0][name])
    through.lower()
    for index in range(2):
        for name in 'ab':
            assert torch.equal(masks.sets[index][name], runs[index][name])
            assert torch.equal(masks.latent[index][name], latent[index][name])


@FEW
@given(st.integers(0, 1000))
def test_soft_masks_take_the_largest_masked_size_off(seed: int) -> None:
    masks, _ = build(seed, soft=True)
    for name, keep in masks.keep.items():
        values = masks.latent[0][name]
        masked = values[keep == 0].abs()
        limit = masked.max() if masked.numel() else torch.tensor(0.0)
        assert masks.thresholds[name] == limit
        expected = values.sign() * (values.abs() - limit).clamp(min=0) * keep
        torch.testing.assert_close(masks.sets[0][name], expected)
        assert masks.sets[0][name][keep == 1].all()  # none of the kept is lost


def test_a_criterion_of_another_kind_loses_no_kept_weight() -> None:
    masks = Masks(dict(w=torch.tensor([3.0, -0.5, 2.0, 1.0])))
    masks.update(dict(w=torch.tensor([False, True, True, False])))
    StraightThrough(masks, ['w'], soft=True).hold()
    assert masks.thresholds == dict(w=0.5)
    assert masks.sets[0]['w'].tolist() == [0, 0, 1.5, 0]


@pytest.mark.parametrize('soft', [False, True])
def test_state_comes_back(soft: bool) -> None:
    masks, through = build(1, soft)
    with torch.no_grad():  # a step after which a kept weight is below the threshold
        through.lift()
        masks.sets[0]['a'].mul_(0.3)
        through.lower()
    again = Masks(
        {n: w.clone() for n, w in masks.sets[0].items()},
        [{n: w.clone() for n, w in masks.sets[1].items()}],
    )
    again.load(masks.state(), masks.latent_state(), masks.before_state())
    again.thresholds |= masks.thresholds
    StraightThrough(again, 'ab', soft).hold()
    for ours, theirs in zip(
        (*again.sets, *again.latent), (*masks.sets, *masks.latent), strict=True
    ):
        for name in 'ab':
            assert torch.equal(ours[name], theirs[name])


def test_a_copy_that_a_file_does_not_have_gets_what_is_masked() -> None:
    """An average that begins with a soft ticket: its latent values are those under the masks."""
    masks, _ = build(3, soft=True)
    weights, average = ({n: w.clone() for n, w in masks.sets[0].items()} for _ in range(2))
    again = Masks(weights, [average])
    again.load(masks.state(), masks.latent_state()[:1])
    for name, keep in masks.keep.items():
        assert torch.equal(again.latent[0][name], masks.latent[0][name])
        assert torch.equal(again.latent[1][name], masks.latent[0][name] * (1 - keep))


def test_release_frees_all_at_what_they_have_learned() -> None:
    masks, through = build(2, soft=True)
    first, copy = ({n: w.clone() for n, w in values.items()} for values in masks.latent)
    for name, weight in masks.sets[1].items():  # a copy has its own, under the masks
        copy[name] += weight
    through.release()
    assert not masks.keep
    assert not masks.thresholds
    for weights, values in zip(masks.sets, (first, copy), strict=True):
        for name in 'ab':
            assert torch.equal(weights[name], values[name])


def test_others_stay_as_they_are() -> None:
    masks = Masks(dict(a=torch.tensor([1.0, 2.0]), b=torch.tensor([1.0, 2.0])))
    masks.update(dict(a=torch.tensor([False, True]), b=torch.tensor([False, True])))
    through = StraightThrough(masks, ['a'])
    through.hold()
    through.lift()
    assert masks.sets[0]['a'].tolist() == [1, 2]
    assert masks.sets[0]['b'].tolist() == [0, 2]
