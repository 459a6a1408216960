"""The graph computes what the model computes, for every kind of network and any size."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from st_mm.deploy.execute import execute
from st_mm.deploy.simplify import simplify
from st_mm.deploy.trace import TraceError, trace

Build = Callable[..., nn.Module]


def largest_error(got: Tensor, want: Tensor) -> float:
    assert got.shape == want.shape
    return float((got - want).abs().max() / want.abs().max())


def check(model: nn.Module, shape: tuple[int, ...]) -> None:
    """Compare the graph, as traced and in plain form, with the model in float32."""
    pictures = torch.randn(shape)
    with torch.no_grad():
        want = model(pictures, data_samples=None, mode='tensor')
    want = want if isinstance(want, (list, tuple)) else [want]
    graph = trace(model)
    for form in (graph, simplify(graph)):
        for got, expected in zip(execute(form, pictures.double()), want, strict=True):
            assert largest_error(got, expected) < 1e-5


@pytest.mark.parametrize('name', ['seg', 'cls', 'pose', 'tokens'])
@pytest.mark.parametrize('size', [(64, 96), (37, 54)])
def test_our_networks(build: Build, name: str, size: tuple[int, int]) -> None:
    check(build(name), (2, 3, *size))


@pytest.mark.slow
@pytest.mark.parametrize(
    'name',
    ['mobilenet_v2', 'mobilenet_v3', 'efficientnet', 'resnet', 'fast_scnn'],
)
def test_stock_networks(build: Build, name: str) -> None:
    check(build(name), (2, 3, 75, 98))


def test_sizes_that_a_network_does_not_take_are_refused() -> None:
    class Halves(nn.Module):
        """Adds a map to itself, halved and doubled: only even sizes fit."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x + F.interpolate(self.conv(x), scale_factor=2)

    graph = trace(Halves())
    assert graph.multiple == 32
    with pytest.raises(ValueError, match='multiples of 32'):
        execute(graph, torch.zeros(1, 3, 33, 32).double())
    with pytest.raises(ValueError, match=r'pictures \(B, 3, H, W\)'):
        execute(graph, torch.zeros(1, 4, 32, 32).double())


def test_one_size_only() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2), nn.Linear(6 * 8, 5))
    with pytest.raises(TraceError, match='--size'):
        trace(model)
    graph = trace(model, (8, 10))
    pictures = torch.randn(2, 3, 8, 10).double()
    with torch.no_grad():
        want = model.double()(pictures)
    assert largest_error(execute(graph, pictures)[0], want) < 1e-12
    with pytest.raises(ValueError, match=r'\(8, 10\) only'):
        execute(graph, torch.zeros(1, 3, 9, 10).double())


@pytest.mark.parametrize('groups', [1, 2])
def test_deconvolutions(groups: int) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ConvTranspose2d(4, 6, 4, 2, 1, 1, groups=groups)
    )
    pictures = torch.randn(2, 3, 17, 22).double()
    graph = simplify(trace(model))
    with torch.no_grad():
        assert largest_error(execute(graph, pictures)[0], model.double()(pictures)) < 1e-12


class Guided(nn.Module):
    """One number for each pixel weighs all channels, as in PIDNet's fusion."""

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.sigmoid(torch.sum(x * x.relu(), dim=1).unsqueeze(1))
        return weight * x + (1 - weight) * x.relu()


def test_sums_over_channels() -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, 3), Guided()).double()
    pictures = torch.randn(2, 3, 34, 41).double()
    with torch.no_grad():
        want = model(pictures)
    graph = trace(model)
    for form in (graph, simplify(graph)):
        assert largest_error(execute(form, pictures)[0], want) < 1e-12


def test_a_dead_block_is_a_constant(build: Build) -> None:
    model = build('seg')
    block = model.backbone.stages[1].branches[0][0]
    for piece in block.unit_slices():
        owner, _, name = piece.name.rpartition('.')
        tensor = getattr(block.get_submodule(owner), name)
        shape = list(tensor.shape)
        shape[piece.dim] = 0
        tensor.data = torch.empty(shape)
    block.sync_units()
    check(model, (2, 3, 40, 56))


class Cumulative(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.cumsum(1)


def test_what_the_graph_does_not_know_is_named() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), Cumulative())
    with pytest.raises(TraceError, match=r"1: the graph has no node for the function 'cumsum'"):
        trace(model)


def test_statistics_of_the_batch_are_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))
    with pytest.raises(TraceError, match='statistics of the batch'):
        trace(model)


def test_weights_that_are_no_numbers_are_refused(build: Build) -> None:
    model = build('seg')
    model.neck.block.project.weight.data[0, 0] = float('nan')
    with pytest.raises(TraceError, match=r'neck.block.project.weight .* not finite'):
        trace(model)


def test_the_model_is_not_changed(build: Build) -> None:
    model = build('cls').train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trace(model)
    assert model.training
    for name, value in model.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name]), name
