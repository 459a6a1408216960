"""Masks: what is dropped, what is remembered, and that zeros stay zeros."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.model import ExponentialMovingAverage
from torch import nn

from st_mm.models import AtomicBlock
from st_mm.prune import (
    Change,
    Masks,
    choose,
    lowest,
    magnitude,
    pack,
    prunable_weights,
    unpack,
)
from st_mm.search import shrink

FEW = settings(max_examples=40, deadline=None, derandomize=True)
SHAPES = st.lists(
    st.sampled_from([(3,), (2, 3), (4, 2, 1, 1), (3, 1, 2, 2), (0, 2), (1,)]),
    min_size=1,
    max_size=4,
)


def named(tensors) -> dict[str, torch.Tensor]:
    return {f'w{i}': tensor for i, tensor in enumerate(tensors)}


# pack


@FEW
@given(st.integers(0, 2**31), st.lists(st.integers(0, 5), min_size=0, max_size=4), st.floats(0, 1))
def test_pack_roundtrip(seed, shape, density) -> None:
    mask = torch.from_numpy(np.asarray(np.random.default_rng(seed).random(shape) < density))
    bits = pack(mask)
    assert bits.dtype == torch.uint8
    assert bits.shape == (-(-mask.numel() // 8),)
    back = unpack(bits, list(mask.shape))
    assert back.dtype == torch.bool
    assert torch.equal(back, mask)
    for dtype in (torch.float32, torch.float16):
        assert torch.equal(pack(mask.to(dtype)), bits)


def test_pack_of_views() -> None:
    mask = torch.rand(6, 4) < 0.5
    assert torch.equal(unpack(pack(mask.T), (4, 6)), mask.T)


# Masks against a reference in numpy


class Reference:
    """What DESIGN says, weight by weight: two models, masks, and the values under them."""

    def __init__(self, models: list[dict[str, np.ndarray]]) -> None:
        self.models = models
        self.masked = {name: np.zeros(w.shape, bool) for name, w in models[0].items()}
        self.before = {name: np.zeros(w.shape, bool) for name, w in models[0].items()}
        self.held = set()
        self.latent = [{n: np.zeros_like(w) for n, w in model.items()} for model in models]

    def update(self, keep: dict[str, np.ndarray]) -> tuple[int, int, int]:
        """Masks; returns what has flipped, and what stays in both and in either round."""
        flips = both = either = 0
        for name, stays in keep.items():
            for now, then in zip(stays.flat, (~self.before[name]).flat, strict=True):
                flips += now != then
                both += now and then
                either += now or then
            self.before[name] = ~stays
        for name, stays in keep.items():
            self.held.add(name)
            for model, latent in zip(self.models, self.latent, strict=True):
                for i in np.ndindex(stays.shape):
                    was = self.masked[name][i]
                    if was and stays[i]:  # comes back with the value it had
                        model[name][i], latent[name][i] = latent[name][i], 0
                    elif not was and not stays[i]:
                        latent[name][i], model[name][i] = model[name][i], 0
                    elif was:
                        model[name][i] = 0
            self.masked[name] = ~stays
        return flips, both, either

    def free(self, names, mode: str, where=None) -> int:
        count = 0
        for name in [n for n in names if n in self.held]:
            going = self.masked[name] & (True if where is None else where[name])
            count += int(going.sum())
            for model, latent in zip(self.models, self.latent, strict=True):
                if mode == 'latent':
                    model[name] = np.where(going, latent[name], model[name])
                latent[name][going] = 0
            self.masked[name] &= ~going
            if where is None:
                self.held.discard(name)
        return count

    def train(self, step: dict[str, np.ndarray]) -> None:
        """The optimizer moves everything, then masks are applied; the average follows."""
        live, ema = self.models
        for name, change in step.items():
            live[name] = np.where(self.masked[name], 0, live[name] + change).astype(np.float32)
            ema[name] = (ema[name] + np.float32(0.25) * (live[name] - ema[name])).astype(np.float32)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just('update'), st.floats(0, 1), st.booleans()),
        st.tuples(st.just('free'), st.sampled_from(['latent', 'zero']), st.integers(0, 7)),
        st.tuples(st.just('free some'), st.sampled_from(['latent', 'zero']), st.floats(0, 1)),
        st.tuples(st.just('train')),
        st.tuples(st.just('reload')),
    ),
    min_size=1,
    max_size=12,
)


@FEW
@given(SHAPES, EVENTS, st.integers(0, 2**31))
def test_events_equal_the_reference(shapes, events, seed) -> None:
    rng = np.random.default_rng(seed)
    live = named([torch.tensor(rng.standard_normal(s), dtype=torch.float32) for s in shapes])
    ema = named([torch.tensor(rng.standard_normal(s), dtype=torch.float32) for s in shapes])
    reference = Reference([{n: w.numpy().copy() for n, w in each.items()} for each in (live, ema)])
    masks = Masks(live, [ema])
    identity = [id(w) for w in (*live.values(), *ema.values())]
    for event, *args in events:
        if event == 'update':
            ratio, partly = args
            keep = {n: torch.from_numpy(rng.random(w.shape) >= ratio) for n, w in live.items()}
            if partly:
                keep = dict(list(keep.items())[:1])
            change = masks.update(keep)
            flips, both, either = reference.update({n: k.numpy() for n, k in keep.items()})
            assert change.flips == flips
            assert change.iou == (both / either if either else 1)
        elif event == 'free':
            mode, subset = args
            names = [f'w{i}' for i in range(4) if subset >> i & 1] if subset else list(live)
            freed = masks.free(names if subset else None, mode)
            assert freed == reference.free(names, mode)
        elif event == 'free some':
            mode, share = args
            where = {n: torch.from_numpy(rng.random(w.shape) < share) for n, w in live.items()}
            freed = masks.free(mode=mode, where=where)
            assert freed == reference.free(live, mode, {n: w.numpy() for n, w in where.items()})
        elif event == 'train':
            step = {n: rng.standard_normal(w.shape).astype(np.float32) for n, w in live.items()}
            for name, weight in live.items():
                weight += torch.from_numpy(step[name])
            masks.apply()
            for name, average in ema.items():
                average.lerp_(live[name], 0.25)
            reference.train(step)
        else:
            state = copy.deepcopy((masks.state(), masks.latent_state(), masks.before_state()))
            masks = Masks(live, [ema])
            masks.load(*state)
        assert set(masks.keep) == reference.held
        for name in live:
            np.testing.assert_allclose(live[name], reference.models[0][name], atol=1e-5)
            np.testing.assert_allclose(ema[name], reference.models[1][name], atol=1e-5)
            masked = reference.masked[name]
            assert not live[name].numpy()[masked].any()
            assert not ema[name].numpy()[masked].any()
            if name in masks.keep:
                assert masks.keep[name].dtype == live[name].dtype
                np.testing.assert_array_equal(masks.keep[name], ~masked)
                for ours, theirs in zip(masks.latent, reference.latent, strict=True):
                    np.testing.assert_allclose(ours[name], theirs[name], atol=1e-5)
        total = sum(w.numel() for w in live.values())
        gone = sum(int(m.sum()) for m in reference.masked.values())
        assert masks.density() == pytest.approx(1 - gone / max(total, 1))
        assert masks.densities() == pytest.approx(
            {n: 1 - m.sum() / max(m.size, 1) for n, m in reference.masked.items()}
        )
    assert [id(w) for w in (*live.values(), *ema.values())] == identity


def test_update_remembers_the_value_at_masking_only() -> None:
    """What an optimizer puts on a masked weight before `apply` is not remembered."""
    weights = named([torch.tensor([1.0, 2.0])])
    masks = Masks(weights)
    masks.update(dict(w0=torch.tensor([False, True])))
    weights['w0'] += 5
    masks.update(dict(w0=torch.tensor([False, False])))
    assert masks.latent[0]['w0'].tolist() == [1, 7]
    assert weights['w0'].tolist() == [0, 0]
    assert masks.free() == 2
    assert weights['w0'].tolist() == [1, 7]


def test_free_of_nothing() -> None:
    masks = Masks(named([torch.ones(2)]))
    assert masks.free() == 0
    assert masks.free(['w0', 'unknown']) == 0
    assert masks.density() == 1
    masks.apply()
    assert Masks({}).density() == 1


def test_zero_mode_leaves_zeros() -> None:
    weights = named([torch.tensor([1.0, 2.0])])
    masks = Masks(weights)
    masks.update(dict(w0=torch.tensor([False, True])))
    assert masks.free(mode='zero') == 1
    assert weights['w0'].tolist() == [0, 2]
    assert masks.keep == {}
    assert masks.latent == [{}]


@pytest.mark.parametrize(('mode', 'values'), [('latent', [1, 0, 3, 4]), ('zero', [0, 0, 3, 4])])
def test_free_some(mode, values) -> None:
    weights = named([torch.tensor([1.0, 2, 3, 4]), torch.tensor([5.0])])
    masks = Masks(weights)
    masks.update(dict(w0=torch.tensor([False, False, False, True]), w1=torch.tensor([False])))
    masks.free(['w0'], where=dict(w0=torch.tensor([False, False, True, True])))
    where = dict(w0=torch.tensor([True, False, False, False]), w1=torch.tensor([True]))
    assert masks.free(['w0'], mode, where) == 1  # names and where: what both have
    assert weights['w0'].tolist() == values
    assert masks.keep['w0'].tolist() == [1, 0, 1, 1]
    assert masks.latent[0]['w0'].tolist() == [0, 2, 0, 0]
    assert masks.keep['w1'].tolist() == [0]
    assert masks.free(where={}) == masks.free(where=dict(unknown=torch.tensor([True]))) == 0
    # the next round knows what the last one was
    assert masks.update(dict(w0=torch.tensor([False, False, False, True]))).flips == 0


def test_free_some_of_another_shape() -> None:
    masks = Masks(named([torch.ones(2, 2)]))
    masks.update(dict(w0=torch.eye(2).bool()))
    with pytest.raises(ValueError, match=r"shape \(2,\) for 'w0', the weight has \(2, 2\)"):
        masks.free(where=dict(w0=torch.tensor([True, False])))
    assert masks.density() == 0.5


def test_unknown_mode_is_refused() -> None:
    masks = Masks(named([torch.ones(2)]))
    masks.update(dict(w0=torch.tensor([False, True])))
    with pytest.raises(ValueError, match='mode'):
        masks.free(mode='latents')


# Rounds


def test_change() -> None:
    weights = named([torch.ones(4), torch.ones(0)])
    masks = Masks(weights)
    empty = torch.ones(0).bool()
    first = masks.update(dict(w0=torch.tensor([False, True, True, True]), w1=empty))
    assert first == Change(flips=1, iou=3 / 4)
    masks.free()  # what is freed in between changes nothing
    second = masks.update(dict(w0=torch.tensor([True, False, False, True]), w1=empty))
    assert second == Change(flips=3, iou=1 / 4)
    assert masks.update(dict(w1=empty)) == Change(0, 1)
    assert masks.update(dict(w0=torch.zeros(4).bool())) == Change(2, 0, ('w0',))
    assert masks.update(dict(w0=torch.zeros(4).bool())) == Change(0, 1)  # nothing is left at all


def test_masked_is_what_choose_wants() -> None:
    """A higher ratio takes none back, whatever an optimizer did; a lower one the largest."""
    weights = named([torch.tensor([0.4, -0.3, 0.2, -0.1, 5.0, 6.0]), torch.full((6,), 0.35)])
    masks = Masks(weights)
    assert masks.masked() == {}
    masks.update(choose(magnitude(weights), 3 / 12))
    weights['w1'] -= 0.35  # live zeros go after what is masked
    masks.update(choose({n: -s for n, s in weights.items()}, 2 / 12, masked=masks.masked()))
    assert weights['w0'].tolist() == pytest.approx([0.4, -0.3, 0, 0, 5, 6])
    masks.update(choose(magnitude(weights), 8 / 12, masked=masks.masked()))
    assert weights['w0'].tolist() == pytest.approx([0.4, -0.3, 0, 0, 5, 6])
    assert masks.keep['w1'].tolist() == [0] * 6


@FEW
@given(st.integers(0, 2**31), st.floats(0.1, 0.9), st.floats(0, 1))
def test_higher_ratio_keeps_masked_weights_masked(seed, first, more) -> None:
    """Whatever an optimizer did meanwhile."""
    torch.manual_seed(seed)
    weights = named([torch.randn(6, 3), torch.randn(8)])
    masks = Masks(weights)
    masks.update(choose(magnitude(weights), first))
    before = {name: keep.clone() for name, keep in masks.keep.items()}
    for weight in weights.values():
        weight += torch.randn_like(weight)
    masks.apply()
    second = first + more * (1 - first)
    masks.update(choose(magnitude(weights), second, masked=masks.masked()))
    for name, keep in masks.keep.items():
        assert not (keep.bool() & ~before[name].bool()).any()
    gone = sum(int((keep == 0).sum()) for keep in masks.keep.values())
    assert gone == int(second * 26)


def test_refit_hits_the_ratio_among_tiny_weights() -> None:
    weights = named([torch.randn(1000) * 1e-12, torch.randn(1000)])
    masks = Masks(weights)
    for ratio in (0.9, 0.3):
        masks.update(choose(magnitude(weights), ratio, masked=masks.masked()))
        assert sum(int((keep == 0).sum()) for keep in masks.keep.values()) == 2000 * ratio


# Cut together with units


@FEW
@given(st.integers(0, 2**31), st.floats(0.1, 0.9))
def test_cut_alignment(seed, share) -> None:
    """Masks and latent values of the units that stay are theirs, in the model and its copy."""
    torch.manual_seed(seed)
    block = AtomicBlock(4, 6, expand_ratio=1)
    ema = copy.deepcopy(block)
    with torch.no_grad():
        for parameter in ema.parameters():
            parameter.add_(torch.randn_like(parameter))
    masks = Masks(prunable_weights(block), [prunable_weights(ema)])
    twin, twin_ema = copy.deepcopy(block), copy.deepcopy(ema)
    keep = lowest(magnitude(masks.weights), 0.6)
    masks.update(keep)
    dead = torch.rand(12) < share
    shrink(block, {'': dead}, copies=[ema], aligned=masks.aligned())
    # the other way round: cut first, then mask what stays of the masks
    shrink(twin, {'': dead}, copies=[twin_ema], aligned=[keep])
    expected = Masks(prunable_weights(twin), [prunable_weights(twin_ema)])
    expected.update(keep)
    for when in ('masked', 'freed'):
        for ours, theirs in ((block, twin), (ema, twin_ema)):
            for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
                assert torch.equal(a, b), (when, name)
        assert masks.keep.keys() == expected.keep.keys()
        for ours, theirs in zip(masks.aligned(), expected.aligned(), strict=True):
            assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        if when == 'masked':
            assert masks.density() == expected.density()
            # a round later: the one before was cut as well
            again = lowest(magnitude(masks.weights), 0.7)
            assert masks.update(again) == expected.update(again)
            assert masks.free() == expected.free()


# State


def test_state_goes_through_a_file(tmp_path) -> None:
    weights, ema = (
        named([torch.randn(3, 5), torch.randn(7)]),
        named([torch.randn(3, 5), torch.randn(7)]),
    )
    masks = Masks(weights, [ema])
    masks.update({n: torch.rand(w.shape) < 0.5 for n, w in weights.items()})
    masks.free(['w1'])
    state = masks.state(), masks.latent_state(), masks.before_state()
    torch.save(state, tmp_path / 'state.pth')
    state, latent, before = torch.load(tmp_path / 'state.pth', weights_only=True)
    assert before.keys() == weights.keys()
    assert state.keys() == {'w0'}
    for copies in latent:
        assert all(values.dim() == 1 for values in copies.values())
        assert sum(v.numel() for v in copies.values()) == sum(
            int((k == 0).sum()) for k in masks.keep.values()
        )
    fresh = [{n: torch.randn_like(w) for n, w in weights.items()} for _ in range(2)]
    other = Masks(fresh[0], fresh[1:])
    other.load(state, latent, before)
    for ours, theirs in zip(other.aligned(), masks.aligned(), strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for each in fresh:
        assert torch.equal(each['w0'] == 0, masks.keep['w0'] == 0)
        assert (each['w1'] != 0).all()


def test_load_without_a_past() -> None:
    weights = named([torch.ones(4)])
    state = dict(w0=dict(shape=[4], bits=pack(torch.tensor([1, 0, 1, 0]))))
    masks = Masks(weights, [named([torch.ones(4)])])
    masks.load(state, None)
    assert masks.before_state()['w0']['bits'].tolist() == state['w0']['bits'].tolist()
    assert [w['w0'].tolist() for w in masks.sets] == [[1, 0, 1, 0]] * 2
    assert masks.free() == 2
    assert weights['w0'].tolist() == [1, 0, 1, 0]


def test_load_into_more_copies_than_saved() -> None:
    """An average that the saved run did not have starts from the live latent weights."""
    masks = Masks(named([torch.tensor([1.0, 2.0])]))
    masks.update(dict(w0=torch.tensor([False, True])))
    state = masks.state(), masks.latent_state()
    other = Masks(named([torch.zeros(2)]), [named([torch.zeros(2)])])
    other.load(*state)
    assert [latent['w0'].tolist() for latent in other.latent] == [[1, 0], [1, 0]]


@pytest.mark.parametrize('state', [dict(w9=[4]), dict(w0=[4], w1=[5]), dict(w0=[2, 2])], ids=str)
def test_load_errors_change_nothing(state) -> None:
    weights = named([torch.ones(4), torch.ones(4)])
    masks = Masks(weights)
    entries = {n: dict(shape=s, bits=pack(torch.zeros(s))) for n, s in state.items()}
    with pytest.raises(ValueError, match='ticket record has a mask'):
        masks.load(entries, None)
    with pytest.raises(ValueError, match='ticket record has a mask'):
        masks.load({}, None, entries)
    assert masks.keep == masks.before == {}
    assert all((weight == 1).all() for weight in weights.values())


# Zeros stay zeros

OPTIMIZERS = {
    'SGD momentum decay': partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.1),
    'Nesterov': partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    'Adam': partial(torch.optim.Adam, lr=0.1, weight_decay=0.1),
    'AdamW': partial(torch.optim.AdamW, lr=0.1, weight_decay=0.1),
    'RMSprop': partial(torch.optim.RMSprop, lr=0.1, momentum=0.9, eps=1e-3, weight_decay=0.1),
}


@pytest.mark.parametrize('optimizer', list(OPTIMIZERS))
def test_zeros_stay_zeros_in_training(optimizer) -> None:
    block = AtomicBlock(4, 4, expand_ratio=1).train()
    average = ExponentialMovingAverage(block, momentum=0.02)
    optimizer = OPTIMIZERS[optimizer](block.parameters())
    weights = prunable_weights(block)
    copies = dict(average.module.named_parameters())  # of which none trains
    masks = Masks(weights, [{name: copies[name] for name in weights}])

    def step() -> None:
        optimizer.zero_grad()
        (block(torch.randn(4, 4, 6, 6)) - 1).square().mean().backward()
        optimizer.step()
        masks.apply()
        average.update_parameters(block)

    for _ in range(3):
        step()
    masks.update(lowest(magnitude(masks.weights), 0.7))
    start = {name: weight.clone() for name, weight in masks.weights.items()}
    for _ in range(50):
        step()
        for weights in masks.sets:
            for name, weight in weights.items():
                assert not weight[masks.keep[name] == 0].any(), name
    for name, weight in masks.weights.items():
        live = masks.keep[name] == 1
        assert (weight[live] != start[name][live]).any() or not live.any(), name
    assert 1 - masks.density() == pytest.approx(0.7, abs=0.005)


def test_apply_keeps_identity_and_live_values() -> None:
    weight = nn.Parameter(torch.randn(5, 5))
    masks = Masks(dict(w=weight))
    masks.update(dict(w=torch.rand(5, 5) < 0.5))
    with torch.no_grad():
        weight += 1
    expected = weight.detach() * masks.keep['w']
    masks.apply()
    assert masks.weights['w'] is weight
    assert torch.equal(weight.detach(), expected)
    assert weight.grad_fn is None


@pytest.mark.parametrize('how', ['update', 'load'])
def test_masks_have_the_memory_format_of_the_weights(how) -> None:
    """Or the product of `apply` is not fused."""
    weight = torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    masks = Masks(dict(w=weight))
    masks.update(dict(w=torch.rand(4, 3, 2, 2) < 0.5))
    if how == 'load':
        masks.load(masks.state(), masks.latent_state())
    assert masks.keep['w'].stride() == weight.stride()


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_apply_does_not_hide_what_is_not_finite(value) -> None:
    """0 * nan is nan: the documented price of one product per step."""
    weight = torch.ones(2)
    masks = Masks(dict(w=weight))
    masks.update(dict(w=torch.tensor([False, True])))
    weight[0] = value
    masks.apply()
    assert weight.isfinite().tolist() == [False, True]


def test_half_precision() -> None:
    weight = torch.randn(16, dtype=torch.float16)
    masks = Masks(dict(w=weight, v=torch.randn(4)))
    masks.update(lowest(magnitude(masks.weights), 0.5))
    weight += 1
    masks.apply()
    assert weight.dtype == torch.float16
    assert sum(int((w == 0).sum()) for w in masks.weights.values()) == 10


def test_latent_weights_are_the_published_ones() -> None:
    """Three prunes with frees between, against weights that a mask multiplies in every forward."""
    inputs, targets = torch.randn(32, 6), torch.randn(32, 3)
    ours = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    published = {name: p.detach().clone().requires_grad_() for name, p in ours.named_parameters()}
    mask = {name: torch.ones_like(p) for name, p in published.items() if name.endswith('weight')}
    masks = Masks({name: p for name, p in ours.named_parameters() if name in mask})
    optimizers = [
        torch.optim.SGD(parameters, lr=0.1)
        for parameters in (ours.parameters(), published.values())
    ]

    def forward(parameters: dict) -> torch.Tensor:
        seen = {name: p * mask[name] if name in mask else p for name, p in parameters.items()}
        return torch.func.functional_call(ours, seen, (inputs,))

    def train() -> None:
        outputs = (lambda: ours(inputs), lambda: forward(published))
        for optimizer, run in zip(optimizers, outputs, strict=True):
            optimizer.zero_grad()
            (run() - targets).square().mean().backward()
            optimizer.step()
        masks.apply()

    for ratio in (0.3, 0.6, 0.9):
        train()
        masks.update(choose(magnitude(masks.weights), ratio, masked=masks.masked()))
        size = torch.cat([(published[name] * mask[name]).detach().abs().flatten() for name in mask])
        threshold = size.kthvalue(int(ratio * len(size))).values
        mask = {name: (published[name].detach().abs() > threshold).float() for name in mask}
        for name in mask:
            assert torch.equal(masks.keep[name], mask[name])
        train()
        torch.testing.assert_close(ours(inputs), forward(published))
        if ratio < 0.9:
            masks.free()
            mask = {name: torch.ones_like(each) for name, each in mask.items()}
            for name in mask:  # each weight has its value from before it was masked
                torch.testing.assert_close(masks.weights[name], published[name])
