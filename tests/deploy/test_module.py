"""The compacted network as a program of torch.export gives what PyTorch gives."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from st_mm.deploy.compact import compact
from st_mm.deploy.module import GraphModule, export_program, program_bytes
from st_mm.deploy.trace import trace

Build = Callable[..., nn.Module]


@pytest.mark.parametrize('name', ['seg', 'tokens', 'cls', 'pose'])
def test_a_saved_program(build: Build, tmp_path: Path, name: str) -> None:
    model = build(name, 0.1)
    graph, _ = compact(trace(model))
    (tmp_path / 'ticket.pt2').write_bytes(program_bytes(export_program(graph, (64, 96))))
    program = torch.export.load(tmp_path / 'ticket.pt2').module()
    for count in (1, 3):
        pictures = torch.randn(count, 3, 64, 96)
        with torch.no_grad():
            want = model(pictures, data_samples=None, mode='tensor')
            got = program(pictures)
        want = want[0] if isinstance(want, list | tuple) else want
        assert got.shape == want.shape
        assert (got - want).abs().max() <= 1e-4 * want.abs().max()


def test_the_module_is_the_smaller_network(build: Build) -> None:
    model = build('seg', 0.1)
    module = GraphModule(compact(trace(model))[0])
    weights = sum(buffer.numel() for buffer in module.buffers())
    assert weights < sum(parameter.numel() for parameter in model.parameters())
    assert not list(module.parameters())


def test_a_size_that_it_does_not_take(build: Build) -> None:
    graph, _ = compact(trace(build('seg', 0.1), (64, 96)))
    with pytest.raises(ValueError, match=r'\(64, 96\) only'):
        export_program(graph, (32, 32))
