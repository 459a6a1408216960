"""Tickets of every task, dense to nearly empty: ONNX and the engine give what PyTorch gives."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from st_mm.deploy import load
from st_mm.deploy.compact import compact
from st_mm.deploy.engine.weights_file import to_bytes
from st_mm.deploy.graph import Graph
from st_mm.deploy.onnx import to_onnx
from st_mm.deploy.trace import trace

TOLERANCE = 1e-4  # of the largest output
SHAPES = ((1, 3, 64, 96), (3, 3, 37, 50))  # the second: odd sizes, more than one picture
RATIOS = (0, 0.5, 0.9, 0.95, 0.98)
TICKETS = [
    *((task, p) for task in ('seg', 'tokens', 'cls', 'pose') for p in RATIOS),
    *(pytest.param(('mobilenet_v2', p), marks=pytest.mark.slow) for p in RATIOS),
]


class Ticket(NamedTuple):
    model: nn.Module
    graph: Graph


@pytest.fixture(scope='module', params=TICKETS, ids=lambda part: f'{part[0]}-{part[1]}')
def ticket(request: pytest.FixtureRequest, build: Callable[..., nn.Module]) -> Ticket:
    """A small network with a share p of its weights zero, and its compacted graph."""
    task, p = request.param
    model = build(task, 1 - p)
    return Ticket(model, compact(trace(model))[0])


def check(run: Callable[[np.ndarray], list[np.ndarray]], model: nn.Module) -> None:
    for shape in SHAPES:
        pictures = torch.randn(shape)
        with torch.no_grad():
            want = model(pictures, data_samples=None, mode='tensor')
        want = want if isinstance(want, (list, tuple)) else [want]
        for ours, eager in zip(run(pictures.numpy()), want, strict=True):
            assert ours.shape == eager.shape
            assert np.abs(ours - eager.numpy()).max() <= TOLERANCE * float(eager.abs().max())


def test_onnx(ticket: Ticket) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    data = to_onnx(ticket.graph).SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=['CPUExecutionProvider'])
    check(lambda pictures: session.run(None, {'pictures': pictures}), ticket.model)


@pytest.mark.compiler
def test_engine(ticket: Ticket, tmp_path: Path) -> None:
    path = tmp_path / 'ticket.stw'
    path.write_bytes(to_bytes(ticket.graph))
    check(load(path), ticket.model)
