"""Scopes: each tensor loses as many weights as it should, and the right ones."""

from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from st_mm.prune import NM, ChannelBlock, Rule, assign, choose, lowest
from st_mm.prune.patterns import count

FEW = settings(max_examples=60, deadline=None, derandomize=True)
SHAPES = [(3,), (1,), (1, 1), (0, 2), (2, 0, 3, 3), (2, 3), (5, 8), (4, 2, 1, 1), (3, 1, 2, 2)]
PERMILLE = st.integers(0, 1000)


def named(tensors) -> dict[str, torch.Tensor]:
    return {f'w{i}': tensor for i, tensor in enumerate(tensors)}


def dropped(masks) -> dict[str, int]:
    return {name: int((~mask).sum()) for name, mask in masks.items()}


@st.composite
def problems(draw, ties: bool = False):
    """Scores of either sign, and what is masked already."""
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    few = ties and draw(st.booleans())

    def numbers(shape) -> torch.Tensor:
        values = rng.choice([-1.0, 0.0, 0.5, 2.0], shape) if few else rng.standard_normal(shape)
        return torch.tensor(np.asarray(values), dtype=torch.float32)

    share = draw(st.sampled_from([0, 0.3, 0.8, 1]))
    scores = named([numbers(shape) for shape in shapes])
    masked = {}
    for name, score in scores.items():
        if draw(st.booleans()):
            where = torch.from_numpy(np.asarray(rng.random(score.shape) < share))
            masked[name] = (where, numbers(score.shape) * where)
    return scores, masked


def keys(name, scores, masked) -> list[tuple[bool, float]]:
    """How a weight sorts, one by one: masked first, by |latent|; then by score."""
    score = scores[name].flatten().tolist()
    if name not in masked:
        return [(True, value) for value in score]
    where, latent = (tensor.flatten().tolist() for tensor in masked[name])
    return [
        (False, abs(past)) if gone else (True, value)
        for gone, past, value in zip(where, latent, score, strict=True)
    ]


# how many


@pytest.mark.parametrize('total', [1, 7, 10, 100, 1000, 12345, 10**7 + 3])
def test_count_is_exact_for_decimals(total) -> None:
    for permille in range(1001):
        assert count(permille / 1000, total) == permille * total // 1000


def test_count_of_products() -> None:
    assert count(0.29, 100) == 29  # int(0.29 * 100) is 28
    assert count(0.3 * 3, 10) == 9
    assert count(0.9 * (0.3 / 0.9), 10) == 3
    assert count(0.2999999, 10) == 2
    assert count(1e-13, 1) == 0


@FEW
@given(problems(), PERMILLE)
def test_ratio_is_reached(problem, permille) -> None:
    """Without ties, exactly, whatever is masked already."""
    scores, masked = problem
    sizes = {name: score.numel() for name, score in scores.items()}
    for scope in ('global', 'sigma', 'layer', 'erk'):
        masks = choose(scores, permille / 1000, scope, masked=masked)
        assert list(masks) == list(scores)
        for name, mask in masks.items():
            assert mask.dtype == torch.bool
            assert mask.shape == scores[name].shape
        gone = dropped(masks)
        ties = sum(
            len(values) - len(set(values))
            for values in [[key for name in scores for key in keys(name, scores, masked)]]
        )
        assert not ties
        if scope == 'layer':
            assert gone == {name: permille * n // 1000 for name, n in sizes.items()}
        else:
            assert sum(gone.values()) == permille * sum(sizes.values()) // 1000


# which


@FEW
@given(problems(ties=True), PERMILLE)
def test_masked_first_equals_naive_sorting(problem, permille) -> None:
    scores, masked = problem
    for scope in ('global', 'layer'):
        masks = choose(scores, permille / 1000, scope, masked=masked)
        pools = [list(scores)] if scope == 'global' else [[name] for name in scores]
        for pool in pools:
            order = sorted(key for name in pool for key in keys(name, scores, masked))
            k = permille * len(order) // 1000
            for name in pool:
                expected = [not k or key > order[k - 1] for key in keys(name, scores, masked)]
                assert masks[name].flatten().tolist() == expected


@FEW
@given(problems(), PERMILLE, PERMILLE)
def test_higher_ratio_frees_nothing(problem, one, other) -> None:
    scores, masked = problem
    for scope in ('global', 'layer'):
        few, many = (choose(scores, r / 1000, scope, masked=masked) for r in sorted((one, other)))
        assert all((many[name] <= few[name]).all() for name in scores)


@FEW
@given(problems(ties=True), st.floats(0, 1))
def test_lowest_equals_sorting(problem, ratio) -> None:
    scores, _ = problem
    flat = sorted(torch.cat([score.flatten() for score in scores.values()]).tolist())
    k = count(ratio, len(flat))
    threshold = flat[k - 1] if k else -float('inf')
    masks = lowest(scores, ratio)
    assert masks.keys() == scores.keys()
    assert all(torch.equal(mask, scores[name] > threshold) for name, mask in masks.items())


def test_global_and_layer() -> None:
    scores = named([torch.arange(4.0), 10 + torch.arange(4.0)])
    assert dropped(choose(scores, 0.5)) == dict(w0=4, w1=0)
    assert dropped(choose(scores, 0.5, 'layer')) == dict(w0=2, w1=2)


@pytest.mark.parametrize('ratio', [0.0, 0.1249])
def test_ratio_below_one_weight_drops_nothing(ratio) -> None:
    assert lowest(named([torch.zeros(8)]), ratio)['w0'].all()


@pytest.mark.parametrize('scope', ['global', 'sigma', 'layer', 'erk'])
def test_scores_are_left_alone(scope) -> None:
    scores = named([torch.randn(4, 4), torch.randn(3)])
    before = {name: score.clone() for name, score in scores.items()}
    masked = dict(w0=(torch.rand(4, 4) < 0.5, torch.randn(4, 4)))
    twin = [tensor.clone() for tensor in masked['w0']]
    choose(scores, 0.6, scope, [Rule('w0', min_per_channel=1)], masked=masked)
    assert all(torch.equal(scores[name], before[name]) for name in scores)
    assert all(torch.equal(a, b) for a, b in zip(masked['w0'], twin, strict=True))


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('size', ['smallest', 'tiny', 'small', 'one', 'large'])
def test_order_behind_masks_is_exact(size, dtype) -> None:
    """Neighbours in the weights' precision are told apart, at any size."""
    limits = torch.finfo(dtype)
    sizes = dict(
        smallest=limits.smallest_normal * limits.eps,
        tiny=limits.smallest_normal,
        small=1e-3,
        one=1,
        large=limits.max / 8,
    )
    latent = (1 + limits.eps * torch.arange(8, dtype=dtype)) * sizes[size]
    latent = latent.to(dtype)[torch.randperm(8)]
    scores = named([torch.full((8,), -1.0), torch.tensor([-2.0])])  # fewer bits than float64
    masked = dict(w0=(torch.ones(8).bool(), latent))
    for k in range(1, 9):
        masks = choose(scores, k / 9, masked=masked)
        assert torch.equal(masks['w0'], latent > latent.sort().values[k - 1])
        assert masks['w1'].all()


def test_mixed_precision() -> None:
    """A threshold is not rounded to the precision of another tensor."""
    half = torch.full((3,), 1 / 3, dtype=torch.float16)
    full = half[:1].float() - 1e-5  # the same, in half precision
    assert dropped(choose(dict(half=half, full=full), 0.25)) == dict(half=0, full=1)


# sigma


@FEW
@given(problems(), PERMILLE)
def test_sigma_is_the_global_scope_of_normalized_scores(problem, permille) -> None:
    """Masked weights and their latent values included."""
    scores, masked = problem
    roots = {name: sum(score.shape) ** 0.5 for name, score in scores.items()}
    larger = {name: score.double() * roots[name] for name, score in scores.items()}
    latent = {name: (where, past.double() * roots[name]) for name, (where, past) in masked.items()}
    ours = choose(scores, permille / 1000, 'sigma', masked=masked)
    theirs = choose(larger, permille / 1000, 'global', masked=latent)
    for name, mask in ours.items():
        assert torch.equal(mask, theirs[name])


def test_sigma_takes_more_of_narrow_layers() -> None:
    """A stem of large weights and a wide layer of small ones, as a usual init draws them."""
    scores = dict(stem=torch.randn(8, 3, 3, 3) / 17**0.5, wide=torch.randn(90, 80) / 170**0.5)
    scores = {name: score.abs() for name, score in scores.items()}
    one, other = (dropped(choose(scores, 0.9, scope)) for scope in ('global', 'sigma'))
    assert one['stem'] / 216 < 0.6
    assert other['stem'] / 216 == pytest.approx(0.9, abs=0.05)
    half = {name: score.half() for name, score in scores.items()}
    assert dropped(choose({**half, 'large': torch.full((9, 9), 65504.0).half()}, 0.5, 'sigma'))


# erk


def erk_reference(shapes, ratio: float) -> list[float]:
    """Weights that stay, with the factor from a search instead of a fixed point."""
    budget = (1 - ratio) * sum(map(prod, shapes))
    low, high = 0.0, 1e6
    for _ in range(200):
        factor = (low + high) / 2
        kept = [min(factor * sum(shape), prod(shape)) for shape in shapes]
        low, high = (factor, high) if sum(kept) < budget else (low, factor)
    return kept


@FEW
@given(
    st.lists(st.sampled_from([*SHAPES, (16, 4, 3, 3), (32, 16, 1, 1)]), min_size=1, max_size=6),
    PERMILLE,
)
def test_erk_densities(shapes, permille) -> None:
    scores = named([torch.randn(shape) for shape in shapes])
    kept = [int(mask.sum()) for mask in choose(scores, permille / 1000, 'erk').values()]
    expected = erk_reference(shapes, permille / 1000)
    for shape, ours, theirs in zip(shapes, kept, expected, strict=True):
        assert abs(ours - theirs) <= 1
        if theirs == prod(shape):
            assert ours == prod(shape)
    total = sum(map(prod, shapes))
    assert total - sum(kept) == permille * total // 1000


def test_erk_by_hand() -> None:
    """(10 + 10 + 3 + 3) / 900 against (20 + 20) / 400; the factor is 500 / 66."""
    scores = named([torch.randn(10, 10, 3, 3), torch.randn(20, 20)])
    gone = dropped(choose(scores, 1 - 500 / 1300, 'erk'))
    assert 900 - gone['w0'] == pytest.approx(500 / 66 * 26, abs=1)
    assert 400 - gone['w1'] == pytest.approx(500 / 66 * 40, abs=1)
    # 650 stay: (20 + 20) * 650 / 66 fit into 400, (2 + 2) * ... do not fit into 4
    scores |= dict(w2=torch.randn(2, 2))
    gone = dropped(choose(scores, 1 - 654 / 1304, 'erk'))
    assert gone['w2'] == 0
    assert 400 - gone['w1'] == pytest.approx(650 / 66 * 40, abs=1)


# rules


def test_own_ratio() -> None:
    scores = {name: torch.randn(100) for name in ('a.0', 'a.1', 'b', 'c')}
    scores['a.1'] += 100
    scores['c'] += 10
    rules = [Rule('a.*', 0.3), Rule('*', min_per_channel=0)]
    assert dropped(choose(scores, 0.5, rules=rules)) == {'a.0': 30, 'a.1': 30, 'b': 100, 'c': 0}
    assert dropped(choose(scores, 0.5, 'layer', rules)) == {'a.0': 30, 'a.1': 30, 'b': 50, 'c': 50}
    rules = [Rule('a.1'), Rule('a.*', 0.3), Rule('c', 0)]  # the first counts
    assert dropped(choose(scores, 0.5, rules=rules)) == {'a.0': 30, 'a.1': 0, 'b': 100, 'c': 0}
    everything = [Rule('*', 0.9)]
    assert set(dropped(choose(scores, 0.5, rules=everything)).values()) == {90}


@pytest.mark.parametrize(('share', 'own'), [(0, 0), (0.1 / 0.9, 7), (0.3 / 0.9, 21), (1, 63)])
def test_own_ratio_follows_the_schedule(share, own) -> None:
    """0.63 where the others go to 0.9: 0.07 for every 0.1."""
    scores = dict(a=torch.randn(100), b=torch.randn(1000))
    gone = dropped(choose(scores, 0.9 * share, rules=[Rule('a', 0.63)], share=share))
    assert gone == dict(a=own, b=round(900 * share))


@FEW
@given(problems(), st.integers(0, 3), st.integers(0, 1000))
def test_min_per_channel(problem, least, permille) -> None:
    """So many stay in each channel, they are its largest, and the ratio is reached."""
    scores, masked = problem
    rules = [Rule('w[02]', min_per_channel=least)]
    bound = {n: min(least, prod(s.shape[1:])) for n, s in scores.items() if n in ('w0', 'w2')} | {
        n: 0 for n in scores if n in ('w1', 'w3')
    }
    total = sum(score.numel() for score in scores.values())
    k = permille * total // 1000
    may_go = total - sum(len(scores[name]) * n for name, n in bound.items())
    if k > may_go:
        with pytest.raises(ValueError, match=f'^{k} of {total} weights .* allows {may_go}:'):
            choose(scores, permille / 1000, rules=rules, masked=masked)
        return
    masks = choose(scores, permille / 1000, rules=rules, masked=masked)
    assert sum(dropped(masks).values()) == k
    for name, n in bound.items():
        if not scores[name].numel():
            continue
        width = prod(scores[name].shape[1:])
        order = keys(name, scores, masked)
        stays = masks[name].flatten().tolist()
        for start in range(0, len(order), width):
            channel = sorted(range(start, start + width), key=order.__getitem__)
            assert all(stays[i] for i in channel[width - n :])
            # from the bottom up: nothing stays below what goes
            assert sorted(stays[i] for i in channel) == [stays[i] for i in channel]
    # what went is the lowest of what may go
    free = [
        (key, stay)
        for name, n in bound.items()
        if scores[name].numel()
        for key, stay in _unbound(name, n, scores, masked, masks)
    ]
    assert [stay for _, stay in sorted(free)] == sorted(stay for _, stay in free)


def _unbound(name, least, scores, masked, masks):
    order, stays = keys(name, scores, masked), masks[name].flatten().tolist()
    width = prod(scores[name].shape[1:])
    for start in range(0, len(order), width):
        channel = sorted(range(start, start + width), key=order.__getitem__)
        yield from ((order[i], stays[i]) for i in channel[: width - least])


def test_min_per_channel_with_an_own_ratio() -> None:
    scores = dict(a=torch.arange(20.0).view(2, 10), b=torch.randn(100))
    rules = [Rule('a', 0.8, min_per_channel=1)]
    masks = choose(scores, 0.5, rules=rules)
    assert masks['a'].nonzero().tolist() == [[0, 9], [1, 7], [1, 8], [1, 9]]
    assert dropped(masks)['b'] == 50
    with pytest.raises(
        ValueError, match=r"18 of 20 .*min_per_channel \(of 'a' and 0 others\).* 16"
    ):
        choose(scores, 0.5, rules=[Rule('a', 0.9, min_per_channel=2)])


def test_assign() -> None:
    names = ['stem.weight', 'body.0.weight', 'body.1.weight']
    rules = [Rule('body.0.*', 0.1), Rule('body.*', 0.2)]
    assert assign(rules, names) == {'body.0.weight': rules[0], 'body.1.weight': rules[1]}
    assert assign([], names) == {}
    with pytest.raises(ValueError, match=r"the rule for 'body\.0\.\*' never applies"):
        assign([Rule('body.*'), Rule('body.0.*')], names)
    with pytest.raises(ValueError, match=r"the rule for 'head\.\*' matches no prunable weight"):
        assign([*rules, Rule('head.*')], names)


# bad values


@pytest.mark.parametrize(
    'wrong',
    [
        *(dict(names=v) for v in ['', None, 3, ['a']]),
        *(dict(ratio=v) for v in [True, '0.5', float('nan'), float('inf'), -0.1, 1, 1.5]),
        *(dict(min_per_channel=v) for v in [True, '1', -1, 0.5, None, float('inf')]),
    ],
    ids=str,
)
def test_bad_rules(wrong) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f'^{name} must'):
        Rule(**dict(names='*') | wrong)


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        *((dict(ratio=v), '^ratio must') for v in [True, '0.5', float('nan'), -0.1, 1.1]),
        *((dict(share=v), '^share must') for v in [True, None, float('nan'), -0.1, 1.1]),
        (dict(scope='tensor'), "^scope must be one of global, sigma, layer, erk, got 'tensor'"),
        (dict(rules=[Rule('w1')]), "'w1' matches no"),
        (dict(scope='erk', pattern=NM()), r'NM\(n=2, m=4\) drops the same share'),
    ],
    ids=str,
)
def test_bad_arguments(wrong, message) -> None:
    with pytest.raises(ValueError, match=message):
        choose(**dict(scores=named([torch.randn(4, 4)]), ratio=0.5) | wrong)


@pytest.mark.parametrize(
    'how',
    [{}, dict(scope='layer'), dict(scope='erk'), dict(pattern=NM()), dict(pattern=ChannelBlock())],
    ids=str,
)
def test_nan_is_named(how) -> None:
    scores = {'a.weight': torch.randn(4, 4), 'b.weight': torch.randn(4, 4)}
    scores['b.weight'][1, 2] = float('nan')
    with pytest.raises(ValueError, match=r"score of 'b\.weight' is nan"):
        choose(scores, 0.5, **how)


def test_infinite_scores_sort() -> None:
    scores = named([torch.tensor([float('inf'), -float('inf'), 0, 1])])
    assert choose(scores, 0.5)['w0'].tolist() == [True, False, False, True]
