"""What compaction leaves computes the same, whatever is zero."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from st_mm.deploy.compact import compact
from st_mm.deploy.execute import execute
from st_mm.deploy.graph import Graph
from st_mm.deploy.trace import trace

Build = Callable[..., nn.Module]


@pytest.fixture(scope='session')
def graphs(build: Build) -> dict[str, Graph]:
    """Dense graphs to draw zeros into."""
    return {name: trace(build(name)) for name in ('seg', 'cls', 'tokens', 'mobilenet_v3')}


def with_zeros(graph: Graph, seed: int) -> Graph:
    """The graph with weights of some layers zero, of others sparse, and some biases zero."""
    rng = np.random.default_rng(seed)
    graph = graph.copy()
    densities = rng.permutation([0.0, 0.03, 0.1, 0.3, 1.0])[: rng.integers(1, 6)]
    for node in graph.nodes():
        if node.op != 'conv' or node.weight is None:
            continue
        if node.weight.shape[1:] == (1, 1, 1):  # a batch norm, or a grouped shortcut
            if rng.random() < 0.2:
                node.bias = node.bias * (rng.random(node.channels) < 0.5)
            continue
        keep = rng.random(node.weight.shape) < rng.choice(densities)
        node.weight = node.weight * keep
    return graph


def check(graph: Graph, seed: int, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (1, graph.picture.channels, *size)
    pictures = torch.randn(shape, generator=generator, dtype=torch.float64)
    compacted, _ = compact(graph)
    for got, want in zip(execute(compacted, pictures), execute(graph, pictures), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # examples are seeds: smaller ones are not simpler
)
@given(
    name=st.sampled_from(['seg', 'cls', 'tokens', 'mobilenet_v3']),
    seed=st.integers(0, 10**6),
    size=st.tuples(st.integers(32, 50), st.integers(32, 50)),
)
def test_any_zeros_any_size(
    graphs: dict[str, Graph], name: str, seed: int, size: tuple[int, int]
) -> None:
    check(with_zeros(graphs[name], seed), seed, size)


def test_everything_zero(graphs: dict[str, Graph]) -> None:
    graph = graphs['seg'].copy()
    for node in graph.nodes():
        if node.op == 'conv' and node.weight is not None and node.weight.shape[1:] != (1, 1, 1):
            node.weight = 0 * node.weight
    compacted, found = compact(graph)
    assert [node.op for node in compacted.nodes()] == ['input', 'constant']
    assert found.dead == found.units
    assert found.weights_after == 0
    check(graph, 0, (33, 40))


@pytest.mark.slow
@pytest.mark.parametrize('name', ['efficientnet', 'resnet', 'fast_scnn', 'mobilenet_v2'])
@pytest.mark.parametrize('density', [0.05, 1.0])
def test_stock_networks(build: Build, name: str, density: float) -> None:
    check(trace(build(name, density)), 0, (64, 65))


def test_the_emptied_units_are_counted(build: Build) -> None:
    model = build('seg')
    block = model.neck.block
    with torch.no_grad():
        block.expand.weight[0] = 0  # constant inside, but zeros stand around the map: a frame
        block.expand_bn.bias[0] = 3  # above zero after the mean, whatever was drawn
        block.depthwise.k3.weight[1] = 0
        block.project.weight[:, 2] = 0
    compacted, found = compact(trace(model))
    assert (found.dead, found.frame) == (2, 1)
    left = sum(n.channels for n in compacted.nodes() if n.depthwise)
    assert left == found.units - 2


def test_linear_layers_in_a_row_become_one_where_that_is_smaller() -> None:
    wide = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 2, 1))
    narrow = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Conv2d(2, 16, 1))
    for model, convolutions in ((wide, 1), (narrow, 2)):
        graph = trace(model)
        compacted, _ = compact(graph)
        assert sum(node.op == 'conv' for node in compacted.nodes()) == convolutions
        check(graph, 0, (9, 12))
