"""MnasNetInit: the spread of every kind of layer."""

from collections import defaultdict
from math import sqrt

import pytest
import torch
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn

from st_mm.models import AtomicBlock, HRClassificationNeck, HRFusionNeck, HRSupernet, TokenMixer


def mnasnet(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        parameter.data.fill_(7)  # what is not initialized shows
    WEIGHT_INITIALIZERS.build(dict(type='MnasNet'))(module)
    return module


def assert_normal(weight: torch.Tensor, std: float) -> None:
    """Mean and standard deviation within 5 standard errors."""
    n = weight.numel()
    assert abs(weight.mean().item()) < 5 * std / sqrt(n)
    assert abs(weight.std().item() / std - 1) < 5 / sqrt(2 * n)
    assert n < 1000 or weight.abs().max() > 2.5 * std  # neither uniform nor truncated
    assert weight.unique().numel() > 0.99 * n


@pytest.mark.parametrize(
    ('args', 'kwargs', 'fan_out'),
    [
        ((16, 32, 3), {}, 32 * 9),
        ((64, 32, 1), {}, 32),
        ((32, 32, (3, 5)), {}, 32 * 15),
        ((64, 128, 3), dict(groups=4), 128 * 9),
        ((512, 512, 3), dict(groups=512), 9),
        ((256, 256, 7), dict(groups=256), 49),
        ((128, 256, 5), dict(groups=128), 25),
    ],
    ids=str,
)
def test_convolutions(args, kwargs, fan_out) -> None:
    conv = mnasnet(nn.Conv2d(*args, **kwargs))
    assert_normal(conv.weight, sqrt(2 / fan_out))
    assert not conv.bias.any()


def test_convolution_of_gray_pictures_is_not_depthwise() -> None:
    assert_normal(mnasnet(nn.Conv2d(1, 256, 3)).weight, sqrt(2 / (256 * 9)))


def test_linear() -> None:
    linear = mnasnet(nn.Linear(300, 100))
    bound = 1 / sqrt(100)
    assert linear.weight.abs().max() <= bound
    assert linear.weight.abs().max() > 0.99 * bound
    assert abs(linear.weight.std().item() * sqrt(3) / bound - 1) < 0.02
    assert not linear.bias.any()
    assert mnasnet(nn.Linear(3, 4, bias=False)).bias is None


@pytest.mark.parametrize(
    'norm', [nn.BatchNorm1d(4), nn.BatchNorm2d(4), nn.SyncBatchNorm(4), nn.LayerNorm(4)], ids=repr
)
def test_norms(norm) -> None:
    mnasnet(norm)
    assert (norm.weight == 1).all()
    assert (norm.bias == 0).all()


def test_norm_without_scale_or_shift() -> None:
    mnasnet(nn.BatchNorm2d(4, affine=False))
    mnasnet(nn.LayerNorm(4, elementwise_affine=False))
    assert (mnasnet(nn.LayerNorm(4, bias=False)).weight == 1).all()


def test_block() -> None:
    """The shared expand convolution has the spread of each kernel's own one."""
    block = mnasnet(AtomicBlock(48, 32, kernel_sizes=(3, 5, 7), expand_ratio=4))
    width = 48 * 4
    for part in block.expand.weight.split(width):
        assert_normal(part, sqrt(2 / width))
    for kernel in (3, 5, 7):
        assert_normal(block.depthwise[f'k{kernel}'].weight, sqrt(2 / kernel**2))
    assert_normal(block.project.weight, sqrt(2 / 32))
    assert block.shortcut.groups == 16
    assert_normal(block.shortcut.weight, sqrt(2 / 32))


@pytest.mark.parametrize('kernels', [(3,), (3, 5)], ids=str)
def test_expand_does_not_depend_on_the_number_of_kernels(kernels) -> None:
    block = mnasnet(AtomicBlock(48, 48, kernel_sizes=kernels, expand_ratio=2))
    assert_normal(block.expand.weight, sqrt(2 / 96))


def test_block_without_units() -> None:
    block = AtomicBlock(4, 4)
    state = block.state_dict()
    for name, dim, _ in block.unit_slices():
        state[name] = state[name].narrow(dim, 0, 0)
    block.load_state_dict(state)
    mnasnet(block)
    assert (block.project_bn.weight == 1).all()


def test_mixer() -> None:
    mixer = mnasnet(TokenMixer(64, 64))
    assert_normal(mixer.input_proj.weight, sqrt(2 / 64))
    assert_normal(mixer.output_proj.weight, sqrt(2 / 64))
    for linear in (m for m in mixer.modules() if isinstance(m, nn.Linear)):
        assert linear.weight.abs().max() <= 1 / 8
    assert (mixer.queries == 7).all()  # not a layer: it keeps what its constructor gave it
    queries = TokenMixer(8, 64).queries
    assert abs(queries.std().item() - 1) < 0.05


@pytest.mark.parametrize(
    'build',
    [
        lambda: HRSupernet(
            stage_channels=((4,), (4, 8)), stage_blocks=((1,), (1, 1)), expand_ratio=1, tokens=2
        ),
        lambda: HRFusionNeck((4, 8), 4, expand_ratio=1),
        lambda: HRClassificationNeck((4, 8), (8, 8), 64, expand_ratio=1),
    ],
    ids=['backbone', 'dense neck', 'classification neck'],
)
def test_modules_initialize_everything(build) -> None:
    module = build()
    for name, parameter in module.named_parameters():
        if not name.endswith('queries'):
            parameter.data.fill_(7)
    module.init_weights()
    for name, parameter in module.named_parameters():
        assert not (parameter == 7).any(), name
    for layer in module.modules():
        if isinstance(layer, (nn.BatchNorm2d, nn.LayerNorm)):
            assert (layer.weight == 1).all()
            assert (layer.bias == 0).all()
    if hasattr(module, 'stem'):
        assert_normal(module.stem[0].conv.weight, sqrt(2 / (24 * 9)))
        assert_normal(module.stem[1].conv.weight, sqrt(2 / (24 * 9)))
    if hasattr(module, 'final'):
        assert_normal(module.final.conv.weight, sqrt(2 / 64))


def test_seeded() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(mnasnet(AtomicBlock(4, 4)).state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))


def test_log_of_initialization_names_it() -> None:
    """The mm packages log how each parameter was initialized; ours reads 'value is the same'."""
    block = AtomicBlock(4, 4)
    info: defaultdict = defaultdict(dict)
    for parameter in block.parameters():
        info[parameter].update(init_info='', tmp_mean_value=parameter.data.mean())
    for module in block.modules():
        module._params_init_info = info
    mnasnet(block)
    assert 'MnasNet' in info[block.expand.weight]['init_info']
