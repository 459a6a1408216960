"""Masks: what is dropped, what is remembered, and that zeros stay zeros."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from st_mm.models import AtomicBlock
from st_mm.prune import Masks, lowest, magnitude, pack, prunable_weights, unpack
from st_mm.search import shrink

FEW = settings(max_examples=40, deadline=None, derandomize=True)
SHAPES = st.lists(
    st.sampled_from([(3,), (2, 3), (4, 2, 1, 1), (3, 1, 2, 2), (0, 2), (1,)]),
    min_size=1,
    max_size=4,
)


def named(tensors) -> dict[str, torch.Tensor]:
    return {f'w{i}': tensor for i, tensor in enumerate(tensors)}


# lowest


@st.composite
def tied_scores(draw):
    """Scores with few different values."""
    shapes = draw(SHAPES)
    values = draw(st.sampled_from([[0.0], [0.0, 1.0], [0.0, 0.5, 1.0, 2.0, -1.0], None]))
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    scores = [rng.choice(values, s) if values else rng.standard_normal(s) for s in shapes]
    return named([torch.tensor(np.asarray(score), dtype=torch.float32) for score in scores])


@FEW
@given(tied_scores(), st.one_of(st.floats(0, 1), st.sampled_from([0.1 * i for i in range(11)])))
def test_lowest_equals_sorting(scores, ratio) -> None:
    flat = torch.cat([score.flatten() for score in scores.values()]).tolist()
    k = int(ratio * len(flat))
    masks = lowest(scores, ratio)
    assert masks.keys() == scores.keys()
    threshold = sorted(flat)[k - 1] if k else -float('inf')
    for name, mask in masks.items():
        assert mask.dtype == torch.bool
        assert torch.equal(mask, scores[name] > threshold)
    dropped = sum(int((~mask).sum()) for mask in masks.values())
    assert dropped >= k
    if len(set(flat)) == len(flat):
        assert dropped == k


def test_lowest_is_global() -> None:
    masks = lowest(named([torch.arange(4.0), 10 + torch.arange(4.0)]), 0.5)
    assert not masks['w0'].any()
    assert masks['w1'].all()


@pytest.mark.parametrize('ratio', [0.0, 0.1249])
def test_ratio_below_one_weight_drops_nothing(ratio) -> None:
    assert lowest(named([torch.zeros(8)]), ratio)['w0'].all()


@pytest.mark.parametrize('ratio', [0.1 * i for i in range(1, 10)])
def test_tenths_of_ten_thousand(ratio) -> None:
    """k = int(ratio * n): not one fewer because 0.7 is a little less."""
    (mask,) = lowest(named([torch.randperm(10000).float()]), round(ratio, 12)).values()
    assert int((~mask).sum()) == round(ratio * 10000)


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


# prunable weights


def test_prunable_weights() -> None:
    model = nn.ModuleDict(
        dict(
            backbone=nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Linear(2, 2)),
            fc=nn.Linear(2, 2),
            neck=nn.ModuleDict(dict(fc=nn.Conv1d(2, 2, 1), norm=nn.LayerNorm(2))),
            decode_head=nn.ModuleDict(dict(conv=nn.Conv2d(2, 2, 1), conv_seg=nn.Conv2d(2, 2, 1))),
            auxiliary_head=nn.ModuleList([nn.ModuleDict(dict(conv_seg=nn.Conv2d(2, 2, 1)))]),
            head=nn.ModuleDict(
                dict(
                    fc=nn.Linear(2, 2),
                    final_layer=nn.Conv2d(2, 2, 1),
                    hidden=nn.Linear(2, 2),
                    layers=nn.ModuleList([nn.ModuleDict(dict(fc=nn.Linear(2, 2)))]),
                )
            ),
            heads=nn.ModuleDict(dict(fc=nn.Linear(2, 2))),
        )
    )
    weights = prunable_weights(model)
    assert set(weights) == {
        'backbone.0.weight',
        'backbone.2.weight',
        'fc.weight',
        'neck.fc.weight',
        'decode_head.conv.weight',
        'head.hidden.weight',
        'heads.fc.weight',
    }
    parameters = dict(model.named_parameters())
    assert all(weights[name] is parameters[name] for name in weights)
    assert list(weights) == [name for name in parameters if name in weights]
    left = prunable_weights(model, ['backbone.*', '*hidden.weight'])
    assert set(weights) - set(left) == {
        'backbone.0.weight',
        'backbone.2.weight',
        'head.hidden.weight',
    }


SEG = dict(in_channels=8, channels=8, num_classes=3, norm_cfg=dict(type='BN'))
LOSS = dict(type='CrossEntropyLoss')
KEYPOINTS = dict(in_channels=8, out_channels=3)
SIMCC = dict(**KEYPOINTS, input_size=(32, 32), in_featuremap_size=(8, 8))


@pytest.mark.parametrize(
    ('library', 'cfg', 'classifiers'),
    [
        ('mmpretrain', dict(type='LinearClsHead'), ['fc']),
        ('mmpretrain', dict(type='MultiLabelLinearClsHead'), ['fc']),
        ('mmpretrain', dict(type='StackedLinearClsHead', mid_channels=[8, 8]), ['layers.2.fc']),
        ('mmpretrain', dict(type='VisionTransformerClsHead', hidden_dim=8), ['layers.head']),
        ('mmpretrain', dict(type='DeiTClsHead'), ['layers.head', 'layers.head_dist']),
        (
            'mmpretrain',
            dict(type='ConformerHead', in_channels=[8, 8]),
            ['conv_cls_head', 'trans_cls_head'],
        ),
        ('mmpretrain', dict(type='EfficientFormerClsHead'), ['head', 'dist_head']),
        ('mmpretrain', dict(type='VigClsHead', hidden_dim=8), ['fc2']),
        ('mmpretrain', dict(type='ArcFaceClsHead'), ['norm_product']),
        (
            'mmpretrain',
            dict(type='CSRAClsHead', num_heads=2, lam=0.1),
            ['csra_heads.0.head', 'csra_heads.1.head'],
        ),
        (
            'mmpretrain',
            dict(
                type='MultiTaskHead',
                num_classes=None,
                task_heads=dict(a=dict(type='LinearClsHead', num_classes=3)),
            ),
            ['task_heads.a.fc'],
        ),
        ('mmseg', dict(type='FCNHead', **SEG), ['conv_seg']),
        ('mmseg', dict(type='ASPPHead', **SEG), ['conv_seg']),
        (
            'mmseg',
            dict(type='DDRHead', loss_decode=[LOSS] * 2, **SEG),
            ['conv_seg', 'aux_cls_seg'],
        ),
        (
            'mmseg',
            dict(type='PIDHead', loss_decode=[LOSS] * 4, **SEG),
            ['conv_seg', 'p_cls_seg', 'd_cls_seg'],
        ),
        (
            'mmpose',
            dict(type='HeatmapHead', conv_out_channels=[8], conv_kernel_sizes=[1], **KEYPOINTS),
            ['final_layer'],
        ),
        (
            'mmpose',
            dict(type='CPMHead', num_stages=2, deconv_out_channels=None, **KEYPOINTS),
            ['multi_final_layers.0', 'multi_final_layers.1'],
        ),
        ('mmpose', dict(type='RegressionHead', in_channels=8, num_joints=3), ['fc']),
        (
            'mmpose',
            dict(type='SimCCHead', deconv_out_channels=None, **SIMCC),
            ['final_layer', 'mlp_head_x', 'mlp_head_y'],
        ),
        ('mmpose', dict(type='RTMCCHead', **SIMCC), ['final_layer', 'cls_x', 'cls_y']),
    ],
    ids=lambda value: value.get('type') if isinstance(value, dict) else '',
)
def test_classifiers_of_mm_heads(library, cfg, classifiers) -> None:
    """Alone, and as one of several."""
    if library == 'mmpretrain':
        cfg = dict(in_channels=8, num_classes=3) | cfg
        cfg = {key: value for key, value in cfg.items() if value is not None}
    with DefaultScope.overwrite_default_scope(library):
        head = MODELS.build(cfg)
    stem = nn.Conv2d(3, 3, 1)
    for prefix, model in {
        'head': nn.ModuleDict(dict(stem=stem, head=head)),
        'decode_head.0': nn.ModuleDict(dict(stem=stem, decode_head=nn.ModuleList([head]))),
    }.items():
        weights = prunable_weights(model)
        left = {
            name
            for name, module in model.named_modules()
            if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear))
            and f'{name}.weight' not in weights
        }
        assert left == {f'{prefix}.{name}' for name in classifiers}


def test_prunable_weights_errors() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 1))
    with pytest.raises(ValueError, match=r"'stem\.\*'"):
        prunable_weights(model, ['stem.*'])
    with pytest.raises(ValueError, match='no prunable weights'):
        prunable_weights(model, ['0.weight'])
    with pytest.raises(ValueError, match='no prunable weights'):
        prunable_weights(nn.ModuleDict(dict(head=nn.ModuleDict(dict(fc=nn.Linear(2, 2))))))


# Masks against a reference in numpy


class Reference:
    """What DESIGN says, weight by weight: two models, masks, and values behind them."""

    def __init__(self, models: list[dict[str, np.ndarray]]) -> None:
        self.models = models
        self.masked = {name: np.zeros(w.shape, bool) for name, w in models[0].items()}
        self.held = set()
        self.latent = [{n: np.zeros_like(w) for n, w in model.items()} for model in models]

    def update(self, keep: dict[str, np.ndarray]) -> None:
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

    def free(self, names, mode: str) -> int:
        count = 0
        for name in [n for n in names if n in self.held]:
            count += int(self.masked[name].sum())
            for model, latent in zip(self.models, self.latent, strict=True):
                if mode == 'latent':
                    model[name] = np.where(self.masked[name], latent[name], model[name])
                latent[name][:] = 0
            self.masked[name][:] = False
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
            masks.update(keep)
            reference.update({n: k.numpy() for n, k in keep.items()})
        elif event == 'free':
            mode, subset = args
            names = [f'w{i}' for i in range(4) if subset >> i & 1] if subset else list(live)
            freed = masks.free(names if subset else None, mode)
            assert freed == reference.free(names, mode)
        elif event == 'train':
            step = {n: rng.standard_normal(w.shape).astype(np.float32) for n, w in live.items()}
            for name, weight in live.items():
                weight += torch.from_numpy(step[name])
            masks.apply()
            for name, average in ema.items():
                average.lerp_(live[name], 0.25)
            reference.train(step)
        else:
            state = copy.deepcopy((masks.state(), masks.latent_state()))
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
    assert [id(w) for w in (*live.values(), *ema.values())] == identity


def test_update_remembers_the_value_at_masking_only() -> None:
    """What an optimizer puts on a masked weight before `apply` is no memory."""
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


def test_unknown_mode_is_refused() -> None:
    masks = Masks(named([torch.ones(2)]))
    masks.update(dict(w0=torch.tensor([False, True])))
    with pytest.raises(ValueError, match='mode'):
        masks.free(mode='latents')


# rank


@FEW
@given(st.integers(0, 2**31), st.floats(0.1, 0.9), st.floats(0, 1))
def test_rank_keeps_masked_weights_masked(seed, first, more) -> None:
    """A higher ratio never frees a weight, whatever an optimizer did meanwhile."""
    torch.manual_seed(seed)
    weights = named([torch.randn(6, 3), torch.randn(8)])
    masks = Masks(weights)
    masks.update(lowest(masks.rank(magnitude(weights)), first))
    before = {name: keep.clone() for name, keep in masks.keep.items()}
    for weight in weights.values():
        weight += torch.randn_like(weight)
    masks.apply()
    second = first + more * (1 - first)
    masks.update(lowest(masks.rank(magnitude(weights)), second))
    for name, keep in masks.keep.items():
        assert not (keep.bool() & ~before[name].bool()).any()
    gone = sum(int((keep == 0).sum()) for keep in masks.keep.values())
    assert gone == int(second * 26)


def test_rank_frees_the_largest_latent_values_first() -> None:
    weights = named([torch.tensor([0.4, -0.3, 0.2, -0.1, 5.0, 6.0])])
    masks = Masks(weights)
    masks.update(lowest(magnitude(weights), 4 / 6))
    ranked = masks.rank(magnitude(weights))['w0']
    assert (ranked[:4] < 0).all()
    assert ranked[:4].argsort().tolist() == [3, 2, 1, 0]
    assert ranked[4:].tolist() == [5, 6]
    masks.update(lowest(dict(w0=ranked), 2 / 6))
    assert weights['w0'].tolist() == pytest.approx([0.4, -0.3, 0, 0, 5, 6])


def test_rank_leaves_live_zeros_above() -> None:
    """Weights freed to zero are not masked: they go after the masked ones."""
    weights = named([torch.tensor([1.0, 0.0, 3.0])])
    masks = Masks(weights)
    masks.update(dict(w0=torch.tensor([False, True, True])))
    assert masks.rank(magnitude(weights))['w0'].argsort().tolist() == [0, 1, 2]


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('size', ['smallest', 'tiny', 'small', 'one', 'large'])
def test_rank_is_exact(size, dtype) -> None:
    """Neighbours in the weights' precision are told apart, at any size; equal weights tie."""
    limits = torch.finfo(dtype)
    sizes = dict(
        smallest=limits.smallest_normal * limits.eps,
        tiny=limits.smallest_normal,
        small=1e-3,
        one=1,
        large=limits.max / 8,
    )
    factors = torch.tensor([0, 1, 1, 2, 3, 4], dtype=dtype)
    values = torch.cat([factors, 1 + limits.eps * factors]) * sizes[size]
    weights = named([values.to(dtype), torch.ones(2)])
    masks = Masks(weights)
    masks.update(dict(w0=torch.zeros(12).bool()))
    ranked = masks.rank(magnitude(weights))
    past, below = masks.latent[0]['w0'], ranked['w0']
    assert past.isfinite().all()
    assert torch.equal(below[:, None] < below, past[:, None] < past)
    assert (below < 0).all()
    assert ranked['w1'].tolist() == [1, 1]


def test_refit_hits_the_ratio_among_tiny_weights() -> None:
    weights = named([torch.randn(1000) * 1e-12, torch.randn(1000)])
    masks = Masks(weights)
    for ratio in (0.9, 0.3):
        masks.update(lowest(masks.rank(magnitude(weights)), ratio))
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
            assert masks.free() == expected.free()


# State


def test_state_goes_through_a_file(tmp_path) -> None:
    weights, ema = (
        named([torch.randn(3, 5), torch.randn(7)]),
        named([torch.randn(3, 5), torch.randn(7)]),
    )
    masks = Masks(weights, [ema])
    masks.update({n: torch.rand(w.shape) < 0.5 for n, w in weights.items()})
    torch.save((masks.state(), masks.latent_state()), tmp_path / 'state.pth')
    state, latent = torch.load(tmp_path / 'state.pth', weights_only=True)
    for copies in latent:
        assert all(values.dim() == 1 for values in copies.values())
        assert sum(v.numel() for v in copies.values()) == sum(
            int((k == 0).sum()) for k in masks.keep.values()
        )
    fresh = [{n: torch.randn_like(w) for n, w in weights.items()} for _ in range(2)]
    other = Masks(fresh[0], fresh[1:])
    other.load(state, latent)
    for ours, theirs in zip(other.aligned(), masks.aligned(), strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for each in fresh:
        for name, weight in each.items():
            assert torch.equal(weight == 0, masks.keep[name] == 0)


def test_load_without_a_past() -> None:
    weights = named([torch.ones(4)])
    state = dict(w0=dict(shape=[4], bits=pack(torch.tensor([1, 0, 1, 0]))))
    masks = Masks(weights, [named([torch.ones(4)])])
    masks.load(state, None)
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
    assert masks.keep == {}
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
    masks = Masks(prunable_weights(block), [prunable_weights(average.module)])

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
