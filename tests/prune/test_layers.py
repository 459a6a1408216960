"""The tensor that a mask applies to: its zeros are those of the kernel, or it is left out."""

import warnings

import pytest
import torch
from mmcv.cnn import ConvAWS2d, ConvWS2d
from mmcv.cnn.bricks.conv2d_adaptive_padding import Conv2dAdaptivePadding
from mmcv.cnn.bricks.wrappers import Conv2d, ConvTranspose2d, Linear
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from torchvision.ops import DeformConv2d

from st_mm.prune import Evidence, choose, magnitude
from st_mm.prune.layers import weights_of
from st_mm.prune.layout import layout_of, layouts_of


def conv(kind: type = nn.Conv2d) -> nn.Module:
    return kind(4, 8, 3)


class Scaled(nn.Linear):
    """Somebody's own layer, which keeps zeros."""

    def forward(self, x):
        return F.linear(x, self.weight * 2, self.bias)


class Shifted(nn.Linear):
    """One that does not."""

    def forward(self, x):
        return x @ (self.weight - self.weight.mean()).t()


def old(norm, layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return norm(layer)


REACHED = {
    'conv': (conv(), 'weight'),
    'mmcv conv': (conv(Conv2d), 'weight'),
    'mmcv linear': (Linear(4, 4), 'weight'),
    'mmcv transposed': (conv(ConvTranspose2d), 'weight'),
    'padding': (conv(Conv2dAdaptivePadding), 'weight'),
    'deformable': (conv(DeformConv2d), 'weight'),
    'scaled': (Scaled(4, 4), 'weight'),
    'old weight norm': (old(weight_norm, conv()), 'weight_v'),
    'weight norm': (parametrizations.weight_norm(conv()), 'parametrizations.weight.original1'),
    'old spectral norm': (old(spectral_norm, conv()), 'weight_orig'),
    'spectral norm': (parametrizations.spectral_norm(conv()), 'parametrizations.weight.original'),
}
UNREACHED = {
    'weight standardization': conv(ConvWS2d),
    'adaptive': conv(ConvAWS2d),
    'orthogonal': parametrizations.orthogonal(nn.Linear(4, 4)),
    'shifted': Shifted(4, 4),
    'weight norm over inputs': parametrizations.weight_norm(conv(nn.ConvTranspose2d)),
}


@pytest.mark.parametrize('kind', REACHED)
def test_zeros_that_reach_the_kernel(kind) -> None:
    layer, name = REACHED[kind]
    before = {key: tensor.clone() for key, tensor in layer.state_dict().items()}
    attributes = set(vars(layer))
    (weight,) = weights_of(layer)
    assert (weight.name, weight.reaches) == (name, True)
    assert weight.tensor is layer.get_parameter(name)
    assert layer.training
    assert set(vars(layer)) == attributes
    assert all(torch.equal(tensor, before[key]) for key, tensor in layer.state_dict().items())


@pytest.mark.parametrize('kind', UNREACHED)
def test_zeros_that_do_not(kind) -> None:
    (weight,) = weights_of(UNREACHED[kind])
    assert not weight.reaches


@pytest.mark.parametrize('kind', ['old weight norm', 'weight norm', 'spectral norm'])
@pytest.mark.parametrize('ratio', [0.5, 0.97])
def test_the_kernel_that_runs_has_the_density_of_the_mask(kind, ratio) -> None:
    layer, name = REACHED[kind]
    weights = {weight.name: weight.tensor for weight in weights_of(layer)}
    with torch.no_grad():
        layer.get_parameter(name)[0] *= 1e-6  # a channel that would lose everything
        layouts = layouts_of(weights)
        keep = choose(magnitude(weights), ratio, layouts=layouts)[name]
        layer.get_parameter(name).mul_(keep)
        layer.eval()(torch.ones(1, 4, 8, 8))
    assert layer.weight.isfinite().all()
    assert torch.equal(layer.weight != 0, keep)
    assert keep.flatten(1).sum(1).min() >= 1


class Two(nn.Module):
    """A layer of which the kernel is made, and one whose weight is the kernel."""

    def __init__(self, normed: nn.Module) -> None:
        super().__init__()
        self.normed, self.plain = normed, conv()


@pytest.mark.parametrize('kind', REACHED)
def test_magnitudes_are_those_of_the_kernel_that_runs(kind) -> None:
    """The scale of what weight norm makes it of means nothing."""
    layer, name = REACHED[kind]
    model = Two(layer)
    parameter = layer.get_parameter(name)
    with torch.no_grad():
        parameter.mul_(100)
        if kind != 'deformable':
            layer.eval()(torch.ones(2, 4, *(() if isinstance(layer, nn.Linear) else (8, 8))))
    kernel = layer.weight.detach() * (2 if kind == 'scaled' else 1)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    weights = {f'normed.{name}': parameter, 'plain.weight': model.plain.weight}
    evidence = Evidence(model, list, lambda model, batch: batch)
    scores = magnitude(weights, evidence)
    torch.testing.assert_close(scores[f'normed.{name}'], kernel.abs())
    assert torch.equal(scores['plain.weight'], model.plain.weight.abs())
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert not any(score.requires_grad for score in scores.values())
    with torch.no_grad():
        parameter.div_(100)


def test_attention() -> None:
    model = nn.MultiheadAttention(8, 2)
    assert [weight.name for weight in weights_of(model)] == ['in_proj_weight']
    model = nn.MultiheadAttention(8, 2, kdim=4, vdim=4)
    names = ['q_proj_weight', 'k_proj_weight', 'v_proj_weight']
    assert [weight.name for weight in weights_of(model)] == names


@pytest.mark.parametrize('groups', [1, 2])
def test_transposed_convolutions_have_outputs_first(groups) -> None:
    weight = nn.ConvTranspose2d(8, 6, 3, groups=groups).weight  # noted without a look at the layer
    layout = layout_of(weight)
    turned = layout.turn(weight)
    assert turned.shape == layout.shape(weight.shape) == (6, 8 // groups, 3, 3)
    assert torch.equal(layout.turn(turned), weight)
    x = torch.randn(1, 8, 5, 5)
    # the same as a convolution with flipped kernels
    expected = F.conv2d(x, turned.flip(2, 3), padding=2, groups=groups)
    assert torch.allclose(F.conv_transpose2d(x, weight, groups=groups), expected, atol=1e-5)
