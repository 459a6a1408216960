"""HRSupernet: the published form of its fusions, its shapes, its config, and loading it."""

import copy
import math

import pytest
import torch
from mmengine.runner import load_checkpoint
from torch.nn import functional as F

from st_mm.models import HRSupernet
from st_mm.models.hr_supernet import FusionLayer
from st_mm.units.loading import take_widths

SMALL = dict(
    stem_channels=(4, 4),
    stage_channels=((4,), (4, 8), (4, 8, 8)),
    stage_blocks=((1,), (1, 1), (1, 1, 2)),
    expand_ratio=1,
)


@pytest.fixture
def net() -> HRSupernet:
    net = HRSupernet(**SMALL)
    net.init_weights()
    return net.eval()


@torch.no_grad()
@pytest.mark.parametrize('size', [(32, 32), (65, 97), (16, 20), (33, 17), (1, 1)], ids=str)
def test_shapes(net, size) -> None:
    outputs = net(torch.randn(2, 3, *size))
    assert isinstance(outputs, tuple)
    assert net.out_channels == (4, 8, 8)
    sizes = []
    height, width = size
    for _ in range(5):
        height, width = math.ceil(height / 2), math.ceil(width / 2)
        sizes.append((height, width))
    shapes = [tuple(x.shape) for x in outputs]
    assert shapes == [(2, c, *s) for c, s in zip(net.out_channels, sizes[1:4], strict=True)]
    assert all(torch.isfinite(x).all() for x in outputs)


@torch.no_grad()
@pytest.mark.parametrize('size', [(8, 8), (9, 13)], ids=str)
@pytest.mark.parametrize('grow', [False, True])
def test_fusion_equals_the_published_sum(size, grow) -> None:
    """DESIGN: sum over |i - j| <= 1 in rising j, the first summand sets the size, then ReLU."""
    channels, out = (4, 6, 8), (6, 4, 8, 5)[: 3 + grow]
    layer = FusionLayer(channels, out, dict(expand_ratio=1)).eval()
    inputs, (height, width) = [], size
    for count in channels:
        inputs.append(torch.randn(2, count, height, width))
        height, width = math.ceil(height / 2), math.ceil(width / 2)
    expected = []
    for i in range(3):
        total = None
        for j in range(3):
            if abs(i - j) > 1:
                continue
            part = layer.paths[f'{j}to{i}'](inputs[j])
            assert layer.paths[f'{j}to{i}'].stride == (2 if j < i else 1)
            if j > i:
                part = part.repeat_interleave(2, 2).repeat_interleave(2, 3)
            if total is not None and part.shape != total.shape:
                part = F.interpolate(part, total.shape[-2:], mode='bilinear', align_corners=False)
            total = part if total is None else total + part
        expected.append(total.relu())
    if grow:
        expected.append(layer.new_branch(expected[-1]))
        assert layer.new_branch.stride == 2
    ours = layer([*inputs])
    assert len(ours) == len(expected)
    for x, y in zip(ours, expected, strict=True):
        torch.testing.assert_close(x, y)
    assert len(layer.paths) == 7
    assert (ours[-1].min() < 0) == grow  # no ReLU after the new branch


@torch.no_grad()
def test_forward_leaves_its_input(net) -> None:
    x = torch.randn(1, 3, 32, 32)
    before = x.clone()
    net(x)
    assert torch.equal(x, before)
    assert all(torch.equal(a, b) for a, b in zip(net(x), net(x), strict=True))


@pytest.mark.parametrize(
    ('channels', 'blocks', 'message'),
    [
        (((4,), (4, 8)), ((1,),), 'same branches'),
        (((4,), (4, 8)), ((1,), (1,)), 'same branches'),
        (((4,), (4, 8, 8)), ((1,), (1, 1, 1)), 'one more'),
        (((4, 8), (4,)), ((1, 1), (1,)), 'one more'),
        (((4, 8, 8),), ((1, 1, 1),), 'one more'),
    ],
)
def test_stages_that_do_not_connect(channels, blocks, message) -> None:
    with pytest.raises(ValueError, match=message):
        HRSupernet(stage_channels=channels, stage_blocks=blocks)


def test_no_stages_are_refused() -> None:
    with pytest.raises(ValueError, match='stage_channels'):
        HRSupernet(stage_channels=(), stage_blocks=())


@torch.no_grad()
def test_other_stages_and_pictures() -> None:
    net = HRSupernet(
        in_channels=5,
        stem_channels=(3, 6),
        stage_channels=((4, 6), (4, 6)),
        stage_blocks=((0, 2), (1, 0)),
        kernel_sizes=(3, 7),
        expand_ratio=2,
        tokens=2,
        norm_cfg=dict(type='BN', eps=0.1),
    ).eval()
    assert [tuple(x.shape) for x in net(torch.randn(1, 5, 16, 24))] == [(1, 4, 4, 6), (1, 6, 2, 3)]
    block = net.stages[0].branches[1][0]
    assert block.unit_groups() == {'k3': 12, 'k7': 12}
    assert block.shortcut.unit_groups() == {'tokens': 2}
    assert block.expand_bn.eps == net.stem[0].bn.eps == 0.1


def test_default_norms() -> None:
    net = HRSupernet(**SMALL)
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


@pytest.mark.parametrize('package', ['mmengine', 'mmseg', 'mmpose', 'mmpretrain'])
@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='HRSupernet', **SMALL),
        dict(type='HRFusionNeck', in_channels=(4, 8), out_channels=4, expand_ratio=1),
        dict(
            type='HRClassificationNeck',
            in_channels=(4, 8),
            head_channels=(4, 8),
            out_channels=4,
            expand_ratio=1,
        ),
        dict(type='AtomicBlock', in_channels=4, out_channels=4),
        dict(type='TokenMixer', channels=4),
    ],
    ids=lambda cfg: cfg['type'],
)
def test_registries_build_it(package, cfg) -> None:
    registry = pytest.importorskip(f'{package}.registry').MODELS
    assert type(registry.build(cfg)).__name__ == cfg['type']


# Loading


def cut(net: HRSupernet) -> dict[str, torch.Tensor]:
    """State of the network with some units gone, and all of those of two blocks."""
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    blocks = {n: m for n, m in net.named_modules() if hasattr(m, 'unit_slices')}
    for index, (name, block) in enumerate(blocks.items()):
        groups = block.unit_groups()
        units = sum(groups.values())
        keep = torch.arange(units) % 3 != index % 3
        keep &= torch.full((units,), index % 4 != 1)
        parts = dict(zip(groups, keep.split(list(groups.values())), strict=True))
        for tensor, dim, group in block.unit_slices():
            part = keep if group is None else parts[group]
            key = f'{name}.{tensor}'
            state[key] = state[key].index_select(dim, part.nonzero().flatten())
    return state


@torch.no_grad()
@pytest.mark.parametrize('prefix', ['', 'backbone.', 'module.'])
def test_load_a_ticket(net, tmp_path, prefix) -> None:
    state = cut(net)
    expected = copy.deepcopy(net)
    expected.load_state_dict(state)
    path = tmp_path / 'ticket.pth'
    torch.save(dict(meta={}, state_dict={f'{prefix}{k}': v for k, v in state.items()}), path)
    fresh = HRSupernet(**SMALL).eval()
    identity = [id(p) for p in fresh.parameters()]
    load_checkpoint(fresh, str(path), 'cpu', strict=False, revise_keys=[(rf'^{prefix}', '')])
    assert [id(p) for p in fresh.parameters()] == identity
    x = torch.randn(1, 3, 33, 32)
    for ours, theirs in zip(fresh(x), expected(x), strict=True):
        assert torch.equal(ours, theirs)
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, state[name]), name


@torch.no_grad()
def test_pretrained_init_cfg(net, tmp_path) -> None:
    path = tmp_path / 'ticket.pth'
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in cut(net).items()}), path)
    cfg = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    fresh = HRSupernet(**SMALL, init_cfg=cfg).eval()
    fresh.init_weights()
    net.load_state_dict(cut(net))
    x = torch.randn(1, 3, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(fresh(x), net(x), strict=True))


def save(tmp_path, state) -> str:
    torch.save(dict(meta={}, state_dict=state), tmp_path / 'ticket.pth')
    return str(tmp_path / 'ticket.pth')


@pytest.mark.parametrize(
    'change',
    [
        dict(stem_channels=(6, 4)),
        dict(stage_channels=((4,), (4, 8), (4, 8, 6))),
        dict(stage_blocks=((1,), (1, 1), (1, 1, 3))),
        dict(kernel_sizes=(3, 5)),
        dict(kernel_sizes=(3, 5, 9)),
        dict(tokens=2),
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_architecture_is_refused(net, tmp_path, change) -> None:
    other = HRSupernet(**{**SMALL, **change})
    with pytest.raises(RuntimeError, match="tensor '"):
        load_checkpoint(other, save(tmp_path, net.state_dict()), 'cpu', strict=False)


@pytest.mark.parametrize(
    'change',
    [
        pytest.param(dict(stage_blocks=((1,), (1, 1), (1, 1, 1))), id='fewer blocks'),
        pytest.param(
            dict(stage_channels=((4,), (4, 8)), stage_blocks=((1,), (1, 1))), id='fewer stages'
        ),
    ],
)
def test_larger_checkpoint_is_refused(net, tmp_path, change) -> None:
    """A config with fewer blocks must not score with a part of the ticket."""
    other = HRSupernet(**{**SMALL, **change})
    with pytest.raises(RuntimeError, match='stages'):
        load_checkpoint(other, save(tmp_path, net.state_dict()), 'cpu', strict=False)


def test_larger_expand_ratio_takes_it(net) -> None:
    other = HRSupernet(**{**SMALL, 'expand_ratio': 4})
    other.load_state_dict(net.state_dict())
    assert sum(p.numel() for p in other.parameters()) == sum(p.numel() for p in net.parameters())


def test_smaller_expand_ratio_is_refused(net) -> None:
    other = HRSupernet(**{**SMALL, 'expand_ratio': 2})
    with pytest.raises(RuntimeError, match=r'depthwise\.k3\.weight'):
        net.load_state_dict(other.state_dict())


@pytest.mark.parametrize('state', [{}, {'head.fc.weight': torch.zeros(2, 2)}], ids=['none', 'head'])
def test_checkpoint_without_the_backbone_is_refused(tmp_path, state) -> None:
    with pytest.raises(RuntimeError, match=r"no tensor 'stem\.0\.conv\.weight'"):
        load_checkpoint(HRSupernet(**SMALL), save(tmp_path, state), 'cpu', strict=False)


def test_refused_checkpoint_leaves_the_network(net) -> None:
    state = cut(net)
    del state['stem.0.conv.weight']
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(RuntimeError, match='stem'):
        net.load_state_dict(state)
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_take_widths_leaves_other_modules_alone(net) -> None:
    take_widths(net, {}, '')
    assert torch.isfinite(net(torch.randn(1, 3, 16, 16))[0]).all()
