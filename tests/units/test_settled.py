"""Which hidden channels masks have emptied, and that removing these alone changes nothing."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial

import pytest
import torch
from mmpretrain.models.backbones.mobilenet_v2 import InvertedResidual as BlockOfV2
from mmpretrain.models.backbones.resnet import Bottleneck
from mmpretrain.models.utils import InvertedResidual as BlockOfV3
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from st_mm.models import AtomicBlock
from st_mm.search import settle, settled_units, shrink
from st_mm.units import find_owners

SQUEEZE = dict(channels=24, ratio=4, act_cfg=(dict(type='ReLU'), dict(type='HSigmoid')))
BLOCKS: dict[str, Callable[[], nn.Module]] = {
    'atomic': partial(AtomicBlock, 4, 6, expand_ratio=2),
    'atomic-stride': partial(AtomicBlock, 4, 6, stride=2, expand_ratio=2),
    'mobilenet_v2': partial(BlockOfV2, 4, 4, 1, 6),
    'mobilenet_v3': partial(BlockOfV3, 4, 4, 24, act_cfg=dict(type='HSwish')),
    'mobilenet_v3-excite': partial(BlockOfV3, 4, 4, 24, se_cfg=SQUEEZE),
    'bottleneck': partial(Bottleneck, 8, 8),
}


def build(name: str) -> nn.Module:
    """A block in float64 whose norms have statistics, scales and biases of all kinds."""
    torch.manual_seed(0)
    block = nn.Sequential(BLOCKS[name]()).double().eval()
    for module in block.modules():
        if isinstance(module, _BatchNorm):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.normal_()
            module.running_var.uniform_(0.5, 2)
    return block


def empty(block: nn.Module, share: float) -> None:
    """Mask rows, filters and columns whole, at random places."""
    owner = find_owners(block)['0']
    for tensor, dim, _ in owner.unit_slices():
        if tensor.endswith('weight') and 'conv2.conv' not in tensor:
            weight = block.get_parameter(f'0.{tensor}')
            if weight.dim() == 4:
                gone = (torch.rand(weight.shape[dim]) < share).nonzero().flatten()
                weight.data.index_fill_(dim, gone, 0)


def pictures(block: nn.Module) -> Tensor:
    channels = next(p.shape[1] for p in block.parameters() if p.dim() == 4)
    return torch.randn(3, channels, 9, 8, dtype=torch.float64)


def remove(block: nn.Module, units: dict[str, Tensor]) -> nn.Module:
    smaller = deepcopy(block)
    settle(find_owners(smaller), units)
    shrink(smaller, units)
    return smaller


@pytest.mark.parametrize('name', BLOCKS)
def test_removed_exactly(name: str) -> None:
    block = build(name)
    empty(block, 0.3)
    units = settled_units(find_owners(block))
    x = pictures(block)
    before = block(x)
    assert units['0'].any()
    assert not units['0'].all()
    torch.testing.assert_close(remove(block, units)(x), before, rtol=1e-9, atol=1e-9)


def one(name: str, **zero: bool) -> tuple[nn.Module, Tensor]:
    """An atomic block of which unit 1 has lost its row, filter or column."""
    block = build(name)
    atomic = block[0]
    if zero.get('row'):
        atomic.expand.weight.data[1] = 0
    if zero.get('filter'):
        atomic.depthwise.k3.weight.data[1] = 0
    if zero.get('centre'):
        kept = atomic.depthwise.k3.weight.data[1, 0, 1, 1].clone()
        atomic.depthwise.k3.weight.data[1] = 0
        atomic.depthwise.k3.weight.data[1, 0, 1, 1] = kept
    if zero.get('column'):
        atomic.project.weight.data[:, 1] = 0
    atomic.expand_bn.running_mean[1] = 0
    atomic.expand_bn.bias.data[1] = 0.7 if zero.get('bias') else -0.7
    return block, atomic.settled_units().isfinite()


@pytest.mark.parametrize('name', ['atomic', 'atomic-stride'])
@pytest.mark.parametrize(
    ('zero', 'goes'),
    [
        ({}, False),
        (dict(bias=True), False),
        (dict(filter=True, bias=True), True),
        (dict(column=True, bias=True), True),
        (dict(row=True), True),
        (dict(row=True, bias=True), False),
        (dict(row=True, bias=True, centre=True), True),
        (dict(row=True, bias=True, column=True), True),
        (dict(centre=True, bias=True), False),
    ],
    ids=lambda value: '-'.join(value) if isinstance(value, dict) else None,
)
def test_rule(name: str, zero: dict[str, bool], goes: bool) -> None:
    """What stays has to: without it other pictures come out."""
    block, units = one(name, **zero)
    assert units.tolist() == [False, goes] + [False] * (len(units) - 2)
    chosen = torch.zeros_like(units)
    chosen[1] = True
    x = pictures(block)
    before = block(x)
    if goes:
        torch.testing.assert_close(remove(block, {'0': chosen})(x), before, rtol=1e-9, atol=1e-9)
    elif 'row' in zero:  # its constant differs at the borders, whatever is folded
        smaller = deepcopy(block)
        shrink(smaller, {'0': chosen})
        difference = before - smaller(x)
        inside = difference[..., 1:-1, 1:-1]
        torch.testing.assert_close(inside, inside[..., :1, :1].expand_as(inside))
        assert (difference[..., 0, 0] - inside[..., 0, 0]).abs().max() > 1e-3


def test_a_squeeze_reads_a_channel_too() -> None:
    """Without its column a channel is read by the excitation still, unless that has lost it too."""
    block = build('mobilenet_v3-excite')
    owner = find_owners(block)['0']
    block[0].linear_conv.conv.weight.data[:, 2] = 0
    assert not owner.settled_units().isfinite().any()
    block[0].se.conv1.conv.weight.data[:, 2] = 0
    assert owner.settled_units().isfinite().nonzero().tolist() == [[2]]


def test_as_many_stay_as_a_block_needs() -> None:
    block = build('mobilenet_v2')
    block[0].conv[1].conv.weight.data.zero_()
    units = settled_units(find_owners(block))['0']
    assert units.tolist() == [False] + [True] * 23


def test_a_copy_has_a_say() -> None:
    block = build('atomic')
    block[0].project.weight.data[:, :3] = 0
    copy = deepcopy(block)
    copy[0].project.weight.data[0, 1] = 1
    assert int(settled_units(find_owners(block))['0'].sum()) == 3
    assert int(settled_units(find_owners(block), [find_owners(copy)])['0'].sum()) == 2
