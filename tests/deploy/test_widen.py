"""Filled-up channels and joined kernels compute the same, with fewer convolutions."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from st_mm.deploy.compact import compact
from st_mm.deploy.execute import execute
from st_mm.deploy.graph import Graph
from st_mm.deploy.select import select
from st_mm.deploy.trace import trace
from st_mm.deploy.widen import for_dense_runtimes, widen

Build = Callable[..., nn.Module]


def filters(graph: Graph) -> list[int]:
    return [n.channels for n in graph.nodes() if n.depthwise and n.weight.shape[2] > 1]


@pytest.mark.parametrize('density', [1, 0.3, 0.05])
@pytest.mark.parametrize(
    'name', ['seg', 'tokens', 'cls', 'pose', pytest.param('mobilenet_v2', marks=pytest.mark.slow)]
)
def test_the_same_function(build: Build, name: str, density: float) -> None:
    graph, _ = compact(trace(build(name, density)))
    before = [(node.op, node.channels) for node in graph.nodes()]
    wide = for_dense_runtimes(graph)
    assert [(node.op, node.channels) for node in graph.nodes()] == before
    for shape in ((2, 3, 64, 96), (1, 3, 37, 50)):
        pictures = torch.randn(shape, dtype=torch.float64)
        for got, want in zip(execute(wide, pictures), execute(graph, pictures), strict=True):
            assert (got - want).abs().max() <= 1e-9 * want.abs().max()
    # units of constants have no expansion, nor has MobileNetV2's first block
    if name != 'mobilenet_v2' and density >= 0.3:
        assert not any(np.array(filters(wide)) % 16)
        assert len(filters(wide)) <= len(filters(graph))


def test_kernels_of_few_channels_are_joined(build: Build) -> None:
    """With a handful of units a kernel, a convolution for each would be mostly fill."""
    graph, _ = compact(trace(build('seg', 0.3)))
    wide = widen(graph)
    assert 0 < len(filters(wide)) < len(filters(graph))
    assert sum(filters(wide)) < sum(-(-count // 16) * 16 for count in filters(graph))


def test_channels_that_nothing_reads_are_not_resized(build: Build) -> None:
    graph, _ = compact(trace(build('seg', 0.05, 1)))
    channels = [
        sum(node.channels for node in form.nodes() if node.op == 'resize')
        for form in (graph, select(graph))
    ]
    assert channels[1] < channels[0]
