"""The ONNX model computes what the model computes, for any number and size of pictures."""

import json
from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from st_mm.deploy.compact import compact
from st_mm.deploy.onnx import to_onnx
from st_mm.deploy.simplify import simplify
from st_mm.deploy.trace import trace

Build = Callable[..., nn.Module]


def session(graph: object, **metadata: object) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    data = to_onnx(graph, metadata).SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=['CPUExecutionProvider'])


def eager(model: nn.Module, pictures: torch.Tensor) -> list[np.ndarray]:
    with torch.no_grad():
        if hasattr(model, 'data_preprocessor'):
            result = model(pictures, data_samples=None, mode='tensor')
        else:
            result = model(pictures)
    return [t.numpy() for t in (result if isinstance(result, (list, tuple)) else [result])]


def check(run: onnxruntime.InferenceSession, model: nn.Module, shape: tuple[int, ...]) -> None:
    pictures = torch.randn(shape)
    for got, want in zip(
        run.run(None, {'pictures': pictures.numpy()}), eager(model, pictures), strict=True
    ):
        assert got.shape == want.shape
        assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()


@pytest.mark.slow
@pytest.mark.parametrize(
    'name', ['mobilenet_v2', 'mobilenet_v3', 'efficientnet', 'resnet', 'fast_scnn']
)
def test_stock_networks(build: Build, name: str) -> None:
    model = build(name, 0.1)
    run = session(compact(trace(model))[0])
    for shape in ((1, 3, 64, 96), (2, 3, 67, 90)):
        check(run, model, shape)


class Everything(nn.Module):
    """Every kind of node that the networks above have not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)
        self.wide = nn.ConvTranspose2d(4, 6, 4, 2, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        x = torch.cat([F.gelu(x[:, 1:3]), F.leaky_relu(x[:, :2], 0.2).tanh()], 1)
        x = (
            torch.max_pool2d(x, 3, 2, 1, ceil_mode=True)
            + F.avg_pool2d(x, 3, 2, 1, True, False).sigmoid()
        )
        y = F.interpolate(x, (5, 7), mode='bilinear', align_corners=True)
        tokens = y.flatten(2)
        y = (tokens @ tokens.transpose(1, 2)).softmax(-1) @ F.layer_norm(tokens, (35,))
        y = F.interpolate(y.view(1 * len(y), 4, 5, 7), x.shape[2:], mode='nearest')
        x = F.silu(x * 2 - 1) * F.adaptive_max_pool2d(x, 1) + y
        return self.wide(x).clamp(-0.5, 3)


@pytest.mark.parametrize('form', [simplify, lambda graph: compact(graph)[0]])
def test_every_node(form: Callable) -> None:
    model = Everything()
    run = session(form(trace(model)))
    for shape in ((1, 3, 64, 96), (2, 3, 37, 52)):
        check(run, model, shape)


def test_what_a_user_needs_is_in_the_file(build: Build) -> None:
    run = session(trace(build('seg')), classes=['road', 'car'])
    facts = run.get_modelmeta().custom_metadata_map
    assert json.loads(facts['classes']) == ['road', 'car']
    assert json.loads(facts['multiple']) == 1


def test_one_size_only() -> None:
    """Where the size is known, so are the bins of a pooling: they must be as ONNX wants them."""

    class Pools(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.interpolate(F.adaptive_avg_pool2d(x, (3, 2)), x.shape[2:])

    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), Pools())
    check(session(trace(model, (38, 53))), model, (2, 3, 38, 53))
