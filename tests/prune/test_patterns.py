"""Patterns: what goes together goes together, and the numbers are right."""

from itertools import groupby
from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from st_mm.prune import NM, PATTERNS, ChannelBlock, Criterion, Rule, choose
from st_mm.prune.layout import layout_of

FEW = settings(max_examples=60, deadline=None, derandomize=True)
PERMILLE = st.integers(0, 1000)


@st.composite
def problems(draw, *channels: int):
    """Weights of the given input channels: scores, and what is masked already."""
    shape = st.tuples(
        st.integers(0, 9), st.sampled_from(channels), st.sampled_from([(), (1, 1), (3, 2)])
    ).map(lambda parts: (*parts[:2], *parts[2]))
    shapes = draw(st.lists(shape, min_size=1, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    ties, share = draw(st.booleans()), draw(st.sampled_from([0, 0.5, 0.9]))

    def numbers(shape) -> torch.Tensor:
        values = rng.choice([-1.0, 0.0, 2.0], shape) if ties else rng.standard_normal(shape)
        return torch.tensor(np.asarray(values), dtype=torch.float32)

    scores = {f'w{i}': numbers(shape) for i, shape in enumerate(shapes)}
    masked = {}
    for name, score in scores.items():
        where = torch.from_numpy(np.asarray(rng.random(score.shape) < share))
        masked[name] = (where, numbers(score.shape) * where)
    return scores, masked


# n:m


def groups(tensor: torch.Tensor, m: int) -> np.ndarray:
    """(groups, m): consecutive input channels, walked the slow way."""
    array = tensor.numpy()
    return np.array(
        [
            array[(out, slice(start, start + m), *place)]
            for out in range(array.shape[0])
            for start in range(0, array.shape[1], m)
            for place in np.ndindex(array.shape[2:])
        ]
    ).reshape(-1, m)


@FEW
@given(problems(4, 8, 12, 0), st.sampled_from([NM(2, 4), NM(1, 4), NM(3, 4), NM(1, 2)]), PERMILLE)
def test_nm_is_exact_in_every_group(problem, pattern, permille) -> None:
    """Ties or not, masked or not; on the way, each group loses int(ratio * m)."""
    scores, masked = problem
    ratio = min(permille / 1000, 1 - pattern.n / pattern.m)
    drop = permille * pattern.m // 1000 if ratio == permille / 1000 else pattern.m - pattern.n
    for scope in ('global', 'layer'):
        masks = choose(scores, ratio, scope, pattern=pattern, masked=masked)
        for name, mask in masks.items():
            assert mask.shape == scores[name].shape
            where, latent = masked[name]
            parts = [groups(t, pattern.m) for t in (mask, where, latent, scores[name])]
            for stays, gone, past, score in zip(*parts, strict=True):
                order = sorted(
                    range(pattern.m),
                    key=lambda i: (not gone[i], abs(past[i]) if gone[i] else score[i], i),
                )
                assert stays[order].tolist() == [False] * drop + [True] * (pattern.m - drop)


@pytest.mark.parametrize('tenths', range(10))
def test_nm_on_the_way(tenths) -> None:
    """int(ratio * m) without float noise: 0.7 of 10 is 7."""
    scores = dict(a=torch.randn(3, 20), b=torch.randn(7, 10, 1, 1))
    masks = choose(scores, tenths / 10, pattern=NM(1, 10))
    assert [int((~mask).sum()) for mask in masks.values()] == [6 * tenths, 7 * tenths]


def test_who_takes_part() -> None:
    """Depthwise convolutions, an RGB stem and the like stay dense and are not counted."""
    shapes = dict(
        stem=(8, 3, 3, 3),
        depthwise=(8, 1, 3, 3),
        odd=(4, 6),
        one=(4,),
        conv=(8, 8, 3, 3),
        fc=(4, 8),
    )
    pattern = NM(2, 4)
    fits = [name for name, shape in shapes.items() if pattern.fits(shape)]
    assert fits == ['conv', 'fc']
    assert all(ChannelBlock().fits(shape) for shape in shapes.values())
    masks = choose({n: torch.randn(shape) for n, shape in shapes.items()}, 0.5, pattern=pattern)
    assert list(masks) == list(shapes)
    for name, mask in masks.items():
        assert mask.float().mean() == (0.5 if name in fits else 1)


@pytest.mark.parametrize(('n', 'm'), [(2, 4), (1, 3), (9, 10), (1, 10), (3, 7)])
def test_nm_final_ratio(n, m) -> None:
    pattern = NM(n, m)
    pattern.check(1 - n / m)
    pattern.check((m - n) / m)
    masks = choose(dict(w=torch.randn(5, 3 * m)), 1 - n / m, pattern=pattern)
    assert int(masks['w'].sum()) == 5 * 3 * n
    for ratio in (1 - n / m + 1e-6, 1 - n / m - 1e-6):
        with pytest.raises(ValueError, match=f'^the pattern {n}:{m} ends at a ratio of '):
            pattern.check(ratio)


def test_nm_refuses_more() -> None:
    scores = dict(w=torch.randn(4, 8))
    with pytest.raises(ValueError, match=r'^the pattern 2:4 drops at most 2 of 4, but 24 of 32'):
        choose(scores, 0.75, pattern=NM(2, 4))


def test_nm_and_rules() -> None:
    scores = dict(a=torch.randn(4, 8), b=torch.randn(4, 8))
    dense = choose(scores, 0.5, rules=[Rule('a', 0)], pattern=NM())
    assert dense['a'].all()
    assert int(dense['b'].sum()) == 16
    half_way = choose(scores, 0.25, rules=[Rule('a', 0.5)], pattern=NM(), share=0.5)
    assert [int(mask.sum()) for mask in half_way.values()] == [24, 24]
    with pytest.raises(ValueError, match=r'^the pattern 2:4 ends at a ratio of 0\.5, .* 0\.75'):
        choose(scores, 0.5, rules=[Rule('a', 0.75)], pattern=NM())


def test_nm_min_per_channel() -> None:
    """The pattern leaves 4 in each channel of 8, whoever wants more is told."""
    scores = dict(w=torch.randn(4, 8))
    for least in (0, 4):
        choose(scores, 0.5, rules=[Rule('w', min_per_channel=least)], pattern=NM())
    for least in (5, 9):
        with pytest.raises(ValueError, match=f"leaves 4 weights .*'w'.* wants {min(least, 8)}"):
            choose(scores, 0.5, rules=[Rule('w', min_per_channel=least)], pattern=NM())


# Blocks of channels


def blocks(tensor: torch.Tensor, size: int) -> dict[tuple, list]:
    """Values by block, walked the slow way."""
    places = sorted(np.ndindex(tensor.shape), key=lambda place: (place[0] // size, *place[1:]))
    return {
        key: [tensor[place].item() for place in members]
        for key, members in groupby(places, lambda place: (place[0] // size, *place[1:]))
    }


@FEW
@given(problems(1, 3, 0), st.integers(1, 5), PERMILLE)
def test_channel_blocks(problem, size, permille) -> None:
    """Whole blocks go, the lowest, as close to the ratio as blocks allow."""
    scores, masked = problem
    masks = choose(scores, permille / 1000, pattern=ChannelBlock(size), masked=masked)
    order = []
    for name, mask in masks.items():
        parts = [blocks(t, size) for t in (mask, *masked[name], scores[name])]
        for key, stays in parts[0].items():
            assert len(set(stays)) == 1
            gone, past, score = (part[key] for part in parts[1:])
            value = np.mean(np.abs(past) if all(gone) else score, dtype=float)
            order.append((not all(gone), value, stays[0], len(stays)))
    order.sort(key=lambda block: block[:3])  # among equals, who goes first does not matter here
    assert [block[2] for block in order] == sorted(block[2] for block in order)
    total = sum(score.numel() for score in scores.values())
    off = sum(block[3] for block in order if not block[2]) - permille * total // 1000
    assert abs(off) <= max(block[3] for block in order) / 2 if order else off == 0


@pytest.mark.parametrize('scope', ['global', 'layer', 'erk'])
@pytest.mark.parametrize('channels', [4, 8, 32])
def test_channel_blocks_in_each_scope(scope, channels) -> None:
    scores = dict(a=torch.randn(channels, 9, 3, 3), b=torch.randn(channels, 16))
    each = choose(scores, 0.6, scope)
    masks = choose(scores, 0.6, scope, pattern=ChannelBlock(4))
    pools = [list(scores)] if scope == 'global' else [[name] for name in scores]
    for pool in pools:
        ours, theirs = (sum(int(kept[name].sum()) for name in pool) for kept in (masks, each))
        assert abs(ours - theirs) <= 2


def test_equal_blocks_do_not_go_together() -> None:
    masks = choose(dict(w=torch.zeros(8, 10)), 0.3, pattern=ChannelBlock(4))
    assert int((~masks['w']).sum()) == 24


def test_short_last_block() -> None:
    score = torch.tensor([[3.0], [3], [3], [3], [1], [1]])  # the last two are one block
    assert choose(dict(w=score), 2 / 6, pattern=ChannelBlock(4))['w'].flatten().tolist() == (
        [True] * 4 + [False] * 2
    )
    # by its own mean: zeros that fill it up would make it the lower one
    score[4:] = 4
    assert choose(dict(w=score), 4 / 6, pattern=ChannelBlock(4))['w'].flatten().tolist() == (
        [False] * 4 + [True] * 2
    )


@FEW
@given(st.integers(1, 9), st.integers(1, 6), st.integers(0, 4), st.integers(0, 2**31), PERMILLE)
def test_channel_blocks_min_per_channel(out, channels, least, seed, permille) -> None:
    score = torch.from_numpy(np.random.default_rng(seed).standard_normal((out, channels)))
    rules, pattern = [Rule('w', min_per_channel=least)], ChannelBlock(4)
    k = permille * out * channels // 1000
    if k > out * max(channels - least, 0):
        with pytest.raises(ValueError, match='min_per_channel'):
            choose(dict(w=score), permille / 1000, rules=rules, pattern=pattern)
        return
    mask = choose(dict(w=score), permille / 1000, rules=rules, pattern=pattern)['w']
    assert (mask.sum(1) >= min(least, channels)).all()
    assert abs(int((~mask).sum()) - k) <= 2
    means = torch.stack([part.mean(0) for part in score.split(4)])
    kept = torch.stack([part[0] for part in mask.split(4)])
    for mean, stays in zip(means, kept, strict=True):  # the lowest of each band went
        assert stays[mean.argsort()].tolist() == sorted(stays.tolist())
    assert len(kept) == ceil(out / 4)


# Configs


@pytest.mark.parametrize(
    ('cfg', 'pattern'),
    [
        ('2:4', NM(2, 4)),
        ('1:16', NM(1, 16)),
        (dict(type='NM', n=1, m=2), NM(1, 2)),
        (dict(type='NM'), NM(2, 4)),
        (dict(type='ChannelBlock', size=8), ChannelBlock(8)),
        (dict(type='ChannelBlock'), ChannelBlock(4)),
    ],
    ids=str,
)
def test_built_from_a_config(cfg, pattern) -> None:
    assert PATTERNS.build(cfg) == pattern


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        ('2-4', "^a pattern must be a dict or a string as '2:4', got '2-4'"),
        ('NM', '^a pattern must be a dict or'),
        ('4:2', '^n and m must be integers with 0 < n < m, got 4 and 2'),
        ('0:4', '^n and m must'),
        (dict(type='NM', n=4, m=4), '^n and m must'),
        (dict(type='NM', n=True, m=4), '^n and m must'),
        (dict(type='NM', n='2', m=4), '^n and m must'),
        (dict(type='NM', n=1.0, m=4), '^n and m must'),
        (dict(type='NM', n=1, m=float('inf')), '^n and m must'),
        (dict(type='ChannelBlock', size=0), '^size must'),
        (dict(type='ChannelBlock', size=True), '^size must'),
        (dict(type='ChannelBlock', size=2.0), '^size must'),
        (dict(type='Blocks'), '^the type of a prune pattern must be one of NM, ChannelBlock'),
        (None, '^a prune pattern must be a dict'),
    ],
    ids=str,
)
def test_bad_configs(cfg, message) -> None:
    with pytest.raises(ValueError, match=message):
        PATTERNS.build(cfg)


@pytest.mark.parametrize('groups', [1, 2])
def test_outputs_and_inputs_of_transposed_convolutions(groups) -> None:
    weight = torch.nn.ConvTranspose2d(16, 8, 3, groups=groups).weight
    with torch.no_grad():
        weight[:, 1] *= 1e-3
    turn = layout_of(weight).turn
    weights = dict(w=weight)

    def keep(ratio, **criterion):
        mask = Criterion.build(**criterion).choose(weights, None, ratio)['w']
        assert mask.shape == weight.shape
        return turn(mask).float()  # (out, in / groups, 3, 3)

    least = keep(0.8, rules=[dict(names='*', min_per_channel=2)])
    assert least.flatten(1).sum(1).min() >= 2
    assert (keep(0.5, pattern='2:4').unflatten(1, (-1, 4)).sum(2) == 2).all()
    blocks = keep(0.5, pattern=dict(type='ChannelBlock', size=4)).unflatten(0, (-1, 4)).sum(1)
    assert ((blocks == 0) | (blocks == 4)).all()
