"""ONNX with all around the network in it answers as the example, which computes it in numpy."""

import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from torch import nn

from st_mm.deploy.compact import compact
from st_mm.deploy.graph import Graph
from st_mm.deploy.onnx import to_onnx
from st_mm.deploy.onnx_whole import ANSWERS, make_whole
from st_mm.deploy.trace import trace

Build = Callable[..., nn.Module]
EXAMPLE = Path(__file__).parents[2] / 'examples' / 'run_onnx.py'
FACTS = dict(mean=[120.0, 110.0, 100.0], std=[58.0, 57.0, 56.0], size=[64, 48])
TASKS = dict(seg='segmentation', cls='classification', pose='pose')


def session(model) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=['CPUExecutionProvider']
    )


@pytest.fixture(scope='module')
def graphs(build: Build) -> dict[str, Graph]:
    return {name: compact(trace(build(name, 0.3)))[0] for name in TASKS}


@pytest.mark.parametrize('order', ['rgb', 'bgr'])
@pytest.mark.parametrize('multiple', [1, 32])
@pytest.mark.parametrize('name', TASKS)
def test_the_answer(graphs: dict[str, Graph], name: str, multiple: int, order: str) -> None:
    example = runpy.run_path(str(EXAMPLE))
    graph = graphs[name].copy()
    graph.multiple = multiple
    model = to_onnx(graph, dict(FACTS, task=TASKS[name], channel_order=order))
    whole, plain = session(make_whole(model)), session(model)
    assert [output.name for output in whole.get_outputs()] == [ANSWERS[TASKS[name]]]
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, 45, 70, 3), np.uint8)
    [answers] = whole.run(None, {'pictures': pictures})
    facts = dict(FACTS, task=TASKS[name], channel_order=order, multiple=multiple)
    for picture, got in zip(pictures, answers, strict=True):
        x = example['prepare'](picture, plain.get_inputs()[0].shape, facts)
        [output] = plain.run(None, {'pictures': x})
        want = example['decode'](output[0], 45, 70, TASKS[name])
        assert got.shape == want.shape
        if name == 'seg':
            assert (got == want).mean() > 0.999  # rounding may decide a tie
        else:
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_the_size_is_fixed(build: Build) -> None:
    graph = compact(trace(build('seg', 0.3), (64, 96)))[0]
    whole = session(make_whole(to_onnx(graph, dict(FACTS, task='segmentation'))))
    [labels] = whole.run(None, {'pictures': np.zeros((1, 30, 41, 3), np.uint8)})
    assert labels.shape == (1, 30, 41)


def test_what_has_no_decoding(graphs: dict[str, Graph]) -> None:
    with pytest.raises(ValueError, match="no decoding for 1 outputs of the task 'other'"):
        make_whole(to_onnx(graphs['seg'], dict(FACTS, task='other')))
    with pytest.raises(ValueError, match='no decoding for 1 outputs of the task None'):
        make_whole(to_onnx(graphs['seg']))
