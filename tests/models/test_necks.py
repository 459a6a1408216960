"""The necks: their function, their shapes, and loading them."""

import copy

import pytest
import torch
from mmengine.runner import load_checkpoint
from torch import nn
from torch.nn import functional as F

from st_mm.models import HRClassificationNeck, HRFusionNeck

CHANNELS = (4, 6, 8)


def fusion(**kwargs) -> HRFusionNeck:
    return HRFusionNeck(CHANNELS, **{'out_channels': 5, 'expand_ratio': 1, **kwargs})


def classification(**kwargs) -> HRClassificationNeck:
    cfg = dict(head_channels=(6, 8, 10), out_channels=12, expand_ratio=1)
    return HRClassificationNeck(CHANNELS, **{**cfg, **kwargs})


def branches(height=16, width=12, batch=2) -> list[torch.Tensor]:
    return [
        torch.randn(batch, c, -(-height // 2**i), -(-width // 2**i)) for i, c in enumerate(CHANNELS)
    ]


@torch.no_grad()
@pytest.mark.parametrize('size', [(16, 12), (9, 7), (1, 1)], ids=str)
def test_fusion(size) -> None:
    neck = fusion().eval()
    inputs = branches(*size)
    resized = [
        F.interpolate(x, size, mode='bilinear', align_corners=False) if i else x
        for i, x in enumerate(inputs)
    ]
    (ours,) = neck(inputs)
    assert ours.shape == (2, 5, *size)
    assert torch.equal(ours, neck.block(torch.cat(resized, 1)))


@torch.no_grad()
@pytest.mark.parametrize('size', [(16, 12), (9, 7), (1, 1)], ids=str)
def test_classification(size) -> None:
    neck = classification().eval()
    inputs = branches(*size)
    first, second, third = (widen(x) for widen, x in zip(neck.widen, inputs, strict=True))
    chain = third + neck.down[1](second + neck.down[0](first))
    expected = neck.final.bn(neck.final.conv(chain)).relu().mean((2, 3))
    (ours,) = neck(inputs)
    assert ours.shape == (2, 12)
    torch.testing.assert_close(ours, expected)
    assert [block.stride for block in neck.down] == [2, 2]
    assert all(isinstance(block.shortcut, nn.Conv2d) for block in (*neck.widen, *neck.down))


def test_dropout_only_in_training() -> None:
    neck = classification(dropout=1 - 1e-9)
    inputs = branches()
    assert neck.train()(inputs)[0].abs().sum() == 0
    assert neck.eval()(inputs)[0].abs().sum() > 0
    assert classification().dropout.p == 0.2


def test_wrong_number_of_branches() -> None:
    with pytest.raises(ValueError, match='zip'):
        classification()(branches()[:2])
    with pytest.raises(ValueError, match='head_channels must have one entry per branch'):
        HRClassificationNeck((4, 6), (4, 6, 8), 4)
    with pytest.raises(RuntimeError):
        fusion()(branches()[:2])


@pytest.mark.parametrize('build', [fusion, classification])
def test_default_norms(build) -> None:
    norms = [m for m in build().modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}
    cfg = dict(type='BN', eps=1e-5, momentum=0.1)
    norms = [m for m in build(norm_cfg=cfg).modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-5, 0.1)}


def cut(neck: nn.Module) -> dict[str, torch.Tensor]:
    """State of a neck whose blocks have lost every second unit."""
    state = {name: tensor.clone() for name, tensor in neck.state_dict().items()}
    for name, block in neck.named_modules():
        if not hasattr(block, 'unit_slices'):
            continue
        groups = block.unit_groups()
        keep = torch.arange(sum(groups.values())) % 2 == 0
        parts = dict(zip(groups, keep.split(list(groups.values())), strict=True))
        for tensor, dim, group in block.unit_slices():
            part = keep if group is None else parts[group]
            key = f'{name}.{tensor}'
            state[key] = state[key].index_select(dim, part.nonzero().flatten())
    return state


@torch.no_grad()
@pytest.mark.parametrize('build', [fusion, classification])
def test_load_a_ticket(build, tmp_path) -> None:
    neck = build().eval()
    state = cut(neck)
    torch.save(dict(meta={}, state_dict=state), tmp_path / 'ticket.pth')
    fresh = build().eval()
    load_checkpoint(fresh, str(tmp_path / 'ticket.pth'), 'cpu', strict=False)
    neck.load_state_dict(state)
    inputs = branches()
    assert torch.equal(fresh(inputs)[0], neck(inputs)[0])


@pytest.mark.parametrize('build', [fusion, classification])
def test_a_neck_may_be_trained_anew(build) -> None:
    """A checkpoint without the neck is the caller's business, one with half of it an error."""
    neck = build()
    before = copy.deepcopy(neck.state_dict())
    model = nn.ModuleDict(dict(neck=neck))
    model.load_state_dict({'neckless.x': torch.zeros(1)}, strict=False)
    for name, tensor in neck.state_dict().items():
        assert torch.equal(tensor, before[name])
    key = next(iter(before))
    with pytest.raises(RuntimeError, match='tensor'):
        model.load_state_dict({f'neck.{key}': before[key]}, strict=False)


@pytest.mark.parametrize('build', [fusion, classification])
def test_misfit_names_the_tensor(build) -> None:
    state = build(expand_ratio=2).state_dict()
    with pytest.raises(RuntimeError, match=r'depthwise\.k3\.weight'):
        build().load_state_dict(state)
    with pytest.raises(RuntimeError, match=r"tensor 'neck\.(block|widen\.2)\."):
        nn.ModuleDict(dict(neck=build())).load_state_dict(
            {f'neck.{k}': v for k, v in _other_input(build).items()}
        )


def _other_input(build) -> dict[str, torch.Tensor]:
    cfg = dict(expand_ratio=1)
    if build is fusion:
        return HRFusionNeck((4, 6, 7), 5, **cfg).state_dict()
    return HRClassificationNeck((4, 6, 7), (6, 8, 10), 12, **cfg).state_dict()
