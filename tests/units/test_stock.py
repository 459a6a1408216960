"""Blocks of the libraries: units found, cut exactly, and shaped by what is loaded."""

import copy
import importlib
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.registry import DefaultScope
from mmseg.models.utils import InvertedResidual as SegInvertedResidual
from torch import nn

from st_mm.measure import count_macs
from st_mm.search import dead_units, input_sizes, saved_macs, shrink, units_macs
from st_mm.units import UnitOwner, find_owners
from st_mm.units.owner import ADAPTERS, owner_of
from st_mm.units.stock import HiddenChannels

FEW = settings(max_examples=20, deadline=None, derandomize=True)
SHAPE = (3, 64, 64)

# library, backbone, search units: those of every expanded block, or of every bottleneck
EXACT = [
    ('mmseg', dict(type='MobileNetV2', widen_factor=0.25), 1824),
    ('mmpose', dict(type='MobileNetV2', widen_factor=0.25), 1824),
    ('mmpretrain', dict(type='MobileNetV2', widen_factor=0.25), 1824),
    ('mmseg', dict(type='FastSCNN'), 4800),
    ('mmpretrain', dict(type='MobileViT', arch='xx_small'), 432),
    ('mmseg', dict(type='ResNetV1c', depth=50, base_channels=8), 472),
    ('mmpose', dict(type='ResNet', depth=50, base_channels=8), 472),
    ('mmpretrain', dict(type='HRNet', arch='w18'), 256),
]
EXCITED = [  # the constant of a dead unit is weighted by the picture
    ('mmseg', dict(type='MobileNetV3', arch='small'), 2440),
    ('mmpose', dict(type='MobileNetV3', arch='small'), 2456),
    ('mmpretrain', dict(type='MobileNetV3', arch='small'), 2440),
    ('mmpose', dict(type='ViPNAS_MobileNetV3'), 480),
    ('mmpretrain', dict(type='EfficientNet', arch='b0'), 8928),
    ('mmpretrain', dict(type='EfficientNetV2', arch='b0'), 12960),
]
NONE = [
    ('mmpose', dict(type='ResNet', depth=18)),  # 3x3 projections pad: constants do not fold
    ('mmpretrain', dict(type='ResNeXt', depth=50)),  # grouped 3x3 convolutions
    ('mmpretrain', dict(type='SEResNet', depth=50)),  # another forward pass
    ('mmpretrain', dict(type='ShuffleNetV2')),  # blocks of the same name
]


def build(library: str, backbone: dict) -> nn.Module:
    importlib.import_module(f'{library}.models')
    with DefaultScope.overwrite_default_scope(library):  # whatever an earlier test has left
        return importlib.import_module(f'{library}.registry').MODELS.build(backbone)


def network(library: str, backbone: dict, seed: int = 0) -> nn.Module:
    """A backbone with norms as after some training."""
    torch.manual_seed(seed)
    model = build(library, backbone)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
    return model


def kill(model: nn.Module, share: float = 0.4) -> dict[str, torch.Tensor]:
    """Set the scale of some units to zero, and say of which; one unit of each owner lives."""
    dead = {}
    for name, owner in find_owners(model).items():
        mask = torch.rand(owner.unit_bn.weight.numel()) < share
        mask[torch.randint(len(mask), ())] = False
        owner.unit_bn.weight.data[mask] = 0
        dead[name] = mask
    return dead


@torch.no_grad()
def outputs(model: nn.Module, pictures: torch.Tensor) -> list[torch.Tensor]:
    found = model(pictures)  # in whatever mode it is
    return list(found) if isinstance(found, list | tuple) else [found]


def distance(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> float:
    return max(((a - b).norm() / b.norm()).item() for a, b in zip(ours, theirs, strict=True))


def name(value: Any) -> str:
    return value['type'] if isinstance(value, dict) else str(value)


@pytest.mark.parametrize(('library', 'backbone', 'units'), EXACT, ids=name)
def test_outputs_stay(library: str, backbone: dict, units: int) -> None:
    model = network(library, backbone)
    assert sum(sum(o.unit_groups().values()) for o in find_owners(model).values()) == units
    sizes, macs = input_sizes(model, SHAPE), count_macs(model, SHAPE).dense
    pictures = torch.randn(4, *SHAPE)
    dead = kill(model)
    saved = saved_macs(find_owners(model), dead, sizes)
    model.eval()
    expected = outputs(model, pictures)
    trained = copy.deepcopy(model).double()
    trained.train()
    for dropout in trained.modules():
        if isinstance(dropout, nn.Dropout):
            dropout.eval()
    shrink(model, dead)
    assert distance(outputs(model, pictures), expected) < 1e-5
    assert count_macs(model, SHAPE).dense == macs - saved > 0
    cut = copy.deepcopy(trained)
    shrink(cut, dead)
    # batch statistics do without the constant
    assert distance(outputs(cut, pictures.double()), outputs(trained, pictures.double())) < 1e-9


@pytest.mark.parametrize(('library', 'backbone', 'units'), EXCITED, ids=name)
def test_outputs_behind_an_excitation_stay_in_the_mean(library, backbone, units) -> None:
    model = network(library, backbone)
    assert sum(sum(o.unit_groups().values()) for o in find_owners(model).values()) == units
    sizes, macs = input_sizes(model, SHAPE), count_macs(model, SHAPE).dense
    pictures = torch.randn(4, *SHAPE)
    dead = kill(model)
    saved = saved_macs(find_owners(model), dead, sizes)
    model.eval()
    expected = outputs(model, pictures)
    lost = copy.deepcopy(model)
    shrink(model, dead)
    shrink(lost, dead, absorb=False)
    drift, drift_lost = (distance(outputs(m, pictures), expected) for m in (model, lost))
    assert drift < 0.1
    assert drift < drift_lost / 4
    assert count_macs(model, SHAPE).dense == macs - saved > 0


@pytest.mark.parametrize(('library', 'backbone', 'units'), EXCITED, ids=name)
def test_a_unit_that_emits_nothing_leaves_exactly(library, backbone, units) -> None:
    """Behind an excitation as well, where its constant is 0."""
    model = network(library, backbone)
    model.eval()
    dead = kill(model)
    for name, owner in find_owners(model).items():
        owner.unit_bn.bias.data[dead[name]] = -3.0 if 'V3' in backbone['type'] else 0.0
    pictures = torch.randn(2, *SHAPE)
    expected = outputs(model, pictures)
    shrink(model, dead)
    assert distance(outputs(model, pictures), expected) < 1e-5


@pytest.mark.parametrize(('library', 'backbone'), NONE, ids=name)
def test_other_blocks_have_no_units(library: str, backbone: dict) -> None:
    assert find_owners(build(library, backbone)) == {}


@pytest.mark.parametrize(('library', 'backbone', 'units'), [EXACT[2], EXCITED[4]], ids=name)
def test_a_stock_network_takes_the_widths_it_is_given(library, backbone, units) -> None:
    model = network(library, backbone)
    full = copy.deepcopy(model.state_dict())
    shrink(model, kill(model))
    fresh = build(library, backbone)
    parameters = list(fresh.parameters())
    fresh.load_state_dict(model.state_dict(), strict=True)
    pictures = torch.randn(2, *SHAPE)
    model.eval()
    expected = outputs(model, pictures)
    for same in (fresh, copy.deepcopy(fresh), pickle.loads(pickle.dumps(fresh))):
        same.eval()
        for ours, theirs in zip(outputs(same, pictures), expected, strict=True):
            assert torch.equal(ours, theirs)
    # and the other way round, in copies as well; parameters stay the objects they are
    for same in (fresh, copy.deepcopy(fresh)):
        same.load_state_dict(full, strict=True)
        assert all(torch.equal(same.state_dict()[key], full[key]) for key in full)
    assert all(a is b for a, b in zip(fresh.parameters(), parameters, strict=True))
    for module in fresh.modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight
            shape = (module.out_channels, module.in_channels // module.groups)
            assert weight.shape[:2] == shape


@FEW
@given(seed=st.integers(0, 2**31), share=st.floats(0, 1), stride=st.sampled_from([1, 2]))
def test_units_of_one_block(seed: int, share: float, stride: int) -> None:
    """What is saved is what the parts save; attributes follow; the output stays."""
    torch.manual_seed(seed)
    block = SegInvertedResidual(8, 8, stride, expand_ratio=3)
    owner = owner_of(block)
    for norm in (m for m in block.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.normal_(norm.bias)
        nn.init.normal_(norm.running_mean)
    x = torch.randn(2, 8, 9, 12)
    macs = units_macs({'': owner}, {'': (9, 12)})['']
    positions = 9 * 12 if stride == 1 else 5 * 6
    assert macs.tolist() == [9 * 12 * 8 + positions * (9 + 8)] * 24
    dead = kill(block, share)
    expected = block.eval()(x)
    shrink(block, dead)
    kept = int((~dead['']).sum())
    assert owner.unit_groups() == {'k3': kept}
    expand, depthwise, project = (part.conv for part in block.conv)
    assert (expand.out_channels, project.in_channels) == (kept, kept)
    assert depthwise.in_channels == depthwise.out_channels == depthwise.groups == kept
    assert block.conv[1].out_channels == block.conv[1].groups == kept
    torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-5)


def test_the_most_important_unit_stays() -> None:
    block = SegInvertedResidual(4, 4, 1, expand_ratio=2)
    owners = find_owners(block)
    owners[''].unit_bn.weight.data = torch.arange(8.0) / 100
    dead = dead_units(owners, 1.0)['']
    assert dead.tolist() == [True] * 7 + [False]
    with pytest.raises(ValueError, match='does not run with fewer than 1 units'):
        shrink(block, {'': torch.ones(8, dtype=torch.bool)})
    shrink(block, {'': dead})
    assert block(torch.randn(2, 4, 5, 5)).shape == (2, 4, 5, 5)


def test_adapters_follow_the_protocol() -> None:
    owner = owner_of(SegInvertedResidual(4, 4, 1, expand_ratio=2))
    assert isinstance(owner, UnitOwner)
    assert isinstance(owner, HiddenChannels)
    assert owner_of(SegInvertedResidual(4, 4, 1, expand_ratio=1)) is None
    group_norm = dict(type='GN', num_groups=2)
    assert owner_of(SegInvertedResidual(4, 4, 1, expand_ratio=2, norm_cfg=group_norm)) is None


@pytest.mark.parametrize('path', ADAPTERS)
def test_every_adapter_has_its_class(path: str) -> None:
    module, _, kind = path.rpartition('.')
    assert issubclass(getattr(importlib.import_module(module), kind), nn.Module)


class Inherited(SegInvertedResidual):
    """A stranger's block, forward pass and all."""


class Changed(SegInvertedResidual):
    def forward(self, x):
        return super().forward(x) * 2


def test_subclasses() -> None:
    assert owner_of(Inherited(4, 4, 1, expand_ratio=2)) is not None
    assert owner_of(Changed(4, 4, 1, expand_ratio=2)) is None


def narrowed(changes: dict) -> dict[str, torch.Tensor]:
    state = nn.Sequential(SegInvertedResidual(4, 4, 1, expand_ratio=2)).state_dict()
    return {key: tensor for key, tensor in (state | changes).items() if tensor is not None}


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'0.conv.1.conv.weight': torch.ones(9, 1, 3, 3)}, '0.conv.1.conv.weight.*1 to 8 filters'),
        ({'0.conv.1.conv.weight': torch.ones(0, 1, 3, 3)}, '0.conv.1.conv.weight.*1 to 8 filters'),
        ({'0.conv.1.conv.weight': torch.ones(5, 1, 3, 3)}, '0.conv.*has shape'),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict, message: str) -> None:
    model = nn.Sequential(SegInvertedResidual(4, 4, 1, expand_ratio=2))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match=message):
        model.load_state_dict(narrowed(changes), strict=False)
    assert all(torch.equal(model.state_dict()[key], before[key]) for key in before)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'0.conv.1.bn.weight': None}, "no tensor '0.conv.1.bn.weight'"),
        ({'0.conv.3.conv.weight': torch.ones(1)}, '0.conv.3.conv.weight.*no place'),
    ],
)
def test_a_torn_ticket_is_refused_and_a_partial_stock_file_is_not(changes, message) -> None:
    """As users of stock networks are used to, who happen to import st_mm."""
    model = nn.Sequential(SegInvertedResidual(4, 4, 1, expand_ratio=2))
    model.load_state_dict(narrowed(changes), strict=False)
    ticket = nn.Sequential(SegInvertedResidual(4, 4, 1, expand_ratio=2))
    shrink(ticket, {'0': torch.arange(8) < 3})
    torn = ticket.state_dict() | changes
    with pytest.raises(RuntimeError, match=message):
        model.load_state_dict({k: v for k, v in torn.items() if v is not None}, strict=False)


def test_standardized_convolutions_have_no_units() -> None:
    """What one column of theirs does depends on the others."""
    assert owner_of(SegInvertedResidual(4, 4, 1, 2, conv_cfg=dict(type='ConvWS'))) is None


def test_weights_without_the_block_are_none_of_its_business() -> None:
    model = nn.Sequential(SegInvertedResidual(4, 4, 1, expand_ratio=2), nn.Linear(1, 1))
    model.load_state_dict({'1.weight': torch.ones(1, 1)}, strict=False)
    assert model[1].weight.item() == 1
