"""The ways to run a network that a table of latencies compares, and what each is set to."""

import copy
import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from networks import Network, logits

from st_mm.deploy import load
from st_mm.deploy.engine.weights_file import to_bytes
from st_mm.deploy.graph import Graph
from st_mm.deploy.widen import for_dense_runtimes

Floats = list[np.ndarray]


class Missing(Exception):
    """A package, or a compiler, that is not on this machine."""


class Runtime(NamedTuple):
    """A column of the table.

    Attributes:
        words (str): What it is, with its memory format.
        build (Callable): ``build(network, pictures, threads)`` gives a function that runs them.
        logits (bool): Whether its outputs are those of the head, and can be compared.
    """

    words: str
    build: Callable[[Network, np.ndarray, int], Callable[[], object]]
    logits: bool = True


def eager(network: Network, pictures: np.ndarray, threads: int) -> Callable[[], Floats]:
    """Run PyTorch as the config builds the network."""
    return _torch(network.model, torch.from_numpy(pictures))


def channels_last(network: Network, pictures: np.ndarray, threads: int) -> Callable[[], Floats]:
    """Run PyTorch with every map and weight in NHWC."""
    model = copy.deepcopy(network.model).to(memory_format=torch.channels_last)
    x = torch.from_numpy(pictures).contiguous(memory_format=torch.channels_last)
    return _torch(model, x)


def compiled(network: Network, pictures: np.ndarray, threads: int) -> Callable[[], Floats]:
    """Run what PyTorch's inductor compiles."""
    return _torch(copy.deepcopy(network.model), torch.from_numpy(pictures), torch.compile)


def _torch(
    model: torch.nn.Module, x: torch.Tensor, wrap: Callable = lambda function: function
) -> Callable[[], Floats]:
    call = wrap(lambda pictures: logits(model, pictures))

    def run() -> Floats:
        with torch.inference_mode():
            return [output.numpy() for output in call(x)]

    return run


def onnxruntime(graph: Graph, pictures: np.ndarray, threads: int) -> Callable[[], Floats]:
    """Run a graph in ONNX Runtime; threads that wait sleep."""
    _need('onnx', 'onnxruntime')
    import onnxruntime as ort

    from st_mm.deploy.onnx import to_onnx

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    options.log_severity_level = 3
    model = to_onnx(graph).SerializeToString()
    session = ort.InferenceSession(model, options, providers=['CPUExecutionProvider'])
    return lambda: session.run(None, {'pictures': pictures})


def openvino(graph: Graph, pictures: np.ndarray, threads: int) -> Callable[[], Floats]:
    """Run a graph in OpenVINO, in float32."""
    _need('onnx', 'openvino')
    import openvino as ov

    from st_mm.deploy.onnx import to_onnx

    core = ov.Core()
    settings = dict(
        INFERENCE_NUM_THREADS=threads,
        NUM_STREAMS=1,
        PERFORMANCE_HINT='LATENCY',
        INFERENCE_PRECISION_HINT='f32',
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'network.onnx'
        path.write_bytes(to_onnx(graph).SerializeToString())
        model = core.read_model(path)
        model.reshape(list(pictures.shape))
        request = core.compile_model(model, 'CPU', settings).create_infer_request()
    return lambda: list(request.infer([pictures]).values())


def engine(network: Network, pictures: np.ndarray, threads: int) -> Callable[[], Floats]:
    """Run our engine, to the outputs of the head."""
    run = _engine(network, threads)
    return lambda: run(pictures)


def engine_labels(network: Network, pictures: np.ndarray, threads: int) -> Callable[[], object]:
    """Run our engine with normalization before, and resize and argmax after."""
    if network.facts['task'] != 'segmentation' or len(network.compacted[0].outputs) > 1:
        raise Missing('labels are for segmentation with one output')
    run = _engine(network, threads)
    noise = np.random.default_rng(0).integers(0, 256, (*network.size, 3), np.uint8)
    return lambda: [run.segment(noise) for _ in pictures]


def _engine(network: Network, threads: int) -> Callable:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'network.stw'
        path.write_bytes(to_bytes(network.compacted[0], network.facts))
        return load(path, threads)


def _of_graph(run: Callable, part: Callable[[Network], Graph]) -> Callable:
    return lambda network, pictures, threads: run(part(network), pictures, threads)


def _need(*packages: str) -> None:
    for name in packages:
        if importlib.util.find_spec(name) is None:
            raise Missing(f'{name} is not installed: pip install {name}')


def _plain(network: Network) -> Graph:
    return network.plain


def _compacted(network: Network) -> Graph:
    return for_dense_runtimes(network.compacted[0])


RUNTIMES = {
    'eager': Runtime('PyTorch as the config builds it', eager),
    'channels_last': Runtime('PyTorch, all in NHWC', channels_last),
    'compile': Runtime('torch.compile, inductor; may take minutes to compile', compiled),
    'ort': Runtime('ONNX Runtime, norms folded, NCHW', _of_graph(onnxruntime, _plain)),
    'ort-compact': Runtime(
        'ONNX Runtime, compacted, as export.py writes it', _of_graph(onnxruntime, _compacted)
    ),
    'openvino': Runtime('OpenVINO, norms folded, NCHW', _of_graph(openvino, _plain)),
    'ov-compact': Runtime('OpenVINO, compacted, the same file', _of_graph(openvino, _compacted)),
    'engine': Runtime('the sparse engine, compacted, outputs of the head', engine),
    'engine-labels': Runtime(
        'the sparse engine, pixels of 8 bits in, a label for every pixel out', engine_labels, False
    ),
}


def versions() -> dict[str, str]:
    """Read the versions of what is installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ('torch', 'onnxruntime', 'openvino'):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = 'missing'
    return found
