"""The graph as an ONNX model that takes any number and size of pictures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ..files import write_atomically
from ..version import __version__
from .graph import Graph, Node
from .sizes import Rule, Step

OPSET = 18  # the first whose Resize names its axes, and ReduceMean takes them as an input
IR_VERSION = 9
ZEROS = (0, 0, 0, 0)


def to_onnx(graph: Graph, metadata: dict[str, Any] | None = None) -> onnx.ModelProto:
    """Write a graph as ONNX.

    Args:
        graph (Graph): A network, best compacted.
        metadata (dict, optional): Plain values that go into the file, each as JSON: what the
            network needs around it (mean, std, classes). Defaults to None.

    Returns:
        onnx.ModelProto: Input ``pictures`` (B, C, H, W) and outputs ``output``, ``output_1`` ...,
        in float32; batch, height and width are free, unless the graph takes one size only.
    """
    writer = _Writer(graph)
    names = [writer.output(i, output) for i, output in enumerate(graph.outputs)]
    height, width = graph.image_size or ('height', 'width')
    picture = helper.make_tensor_value_info(
        'pictures', TensorProto.FLOAT, ['batch', graph.picture.channels, height, width]
    )
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ['batch'] + [None] * (rank - 1))
        for name, rank in zip(names, graph.ranks, strict=True)
    ]
    model = helper.make_model(
        helper.make_graph(writer.nodes, 'ticket', [picture], outputs, writer.weights),
        opset_imports=[helper.make_opsetid('', OPSET)],
        ir_version=IR_VERSION,
        producer_name='st_mm',
        producer_version=__version__,
    )
    facts = dict(metadata or {}, multiple=graph.multiple)
    helper.set_model_props(model, {key: json.dumps(value) for key, value in facts.items()})
    onnx.checker.check_model(model, full_check=True)
    return model


def save_onnx(graph: Graph, path: str | Path, metadata: dict[str, Any] | None = None) -> None:
    """Write a graph as an ONNX file, whole or not at all; see :func:`to_onnx`."""
    write_atomically(path, to_onnx(graph, metadata).SerializeToString())


class _Writer:
    """Collects the nodes and weights of an ONNX graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._names = {id(graph.picture): 'pictures'}
        self._constants: dict[tuple[Any, ...], str] = {}
        self._lengths: dict[tuple[int, Rule], str] = {}
        self._sizes = graph.sizes()
        for node in graph.nodes()[1:]:
            inputs = [self._names[id(before)] for before in node.inputs]
            self._names[id(node)] = getattr(self, f'_{node.op}')(node, *inputs)

    def output(self, number: int, node: Node) -> str:
        """Name an output, and give it the axes that the network returns."""
        name = f'output_{number}' if number else 'output'
        value, rank = self._names[id(node)], self.graph.ranks[number]
        if rank == 4:
            self.nodes.append(helper.make_node('Identity', [value], [name]))
        else:
            axes = self.constant(np.array([2, 3] if rank == 2 else [2], np.int64))
            self.nodes.append(helper.make_node('Squeeze', [value, axes], [name]))
        return name

    def constant(self, array: NDArray[Any]) -> str:
        """A weight of the model, stored once."""
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f'w{len(self.weights)}'
            self.weights.append(numpy_helper.from_array(np.asarray(array, order='C'), name))
            self._constants[key] = name
        return self._constants[key]

    def ints(self, *values: int) -> str:
        """A constant list of whole numbers."""
        return self.constant(np.array(values, np.int64))

    def emit(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output; returns the output's name."""
        name = f'v{len(self.nodes)}'
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    # Sizes, which depend on the picture

    def length(self, axis: int, rule: Rule) -> str:
        """Height (axis 0) or width (1) of a map, as a list of one whole number."""
        if not rule or rule[-1].kind == 'fixed':
            if rule:
                return self.ints(rule[-1].value)
            if self.graph.image_size:
                return self.ints(self.graph.image_size[axis])
        if (axis, rule) not in self._lengths:
            if rule:
                name = self._after(self.length(axis, rule[:-1]), rule[-1])
            else:
                name = self.emit('Shape', 'pictures', start=2 + axis, end=3 + axis)
            self._lengths[axis, rule] = name
        return self._lengths[axis, rule]

    def _after(self, length: str, step: Step) -> str:
        """A length after one step."""
        if step.kind == 'times':
            return self.emit('Mul', length, self.ints(step.value))
        if step.value:
            length = self.emit('Add', length, self.ints(step.value))
        if step.kind == 'window_up':
            length = self.emit('Add', length, self.ints(step.stride - 1))
        if step.stride != 1:
            length = self.emit('Div', length, self.ints(step.stride))
        return self.emit('Add', length, self.ints(1))

    def size(self, node: Node) -> str:
        """Height and width of a node's map, as a list of two."""
        height, width = (self.length(i, rule) for i, rule in enumerate(self._sizes[id(node)]))
        return self.emit('Concat', height, width, axis=0)

    # One method per kind of node

    def _conv(self, node: Node, x: str) -> str:
        assert node.weight is not None
        assert node.bias is not None
        pads: dict[str, Any] = dict(auto_pad='SAME_UPPER')
        if node.padding is not None:
            pads = dict(pads=list(node.padding))
        inputs = [x, self.constant(node.weight)]
        if node.bias.any():
            inputs.append(self.constant(node.bias))
        return self.emit(
            'Conv',
            *inputs,
            kernel_shape=list(node.weight.shape[2:]),
            strides=list(node.stride),
            dilations=list(node.dilation),
            group=node.groups,
            **pads,
        )

    def _constant(self, node: Node) -> str:
        assert node.value is not None
        value = node.value if node.value.ndim == 3 else node.value[:, None, None]
        batch = self.emit('Shape', 'pictures', start=0, end=1)
        shape = self.emit('Concat', batch, self.ints(node.channels), self.size(node), axis=0)
        return self.emit('Expand', self.constant(value[None]), shape)

    def _act(self, node: Node, x: str) -> str:
        if node.kind == 'clip':
            if (node.low, node.high) == (0, np.inf):
                return self.emit('Relu', x)
            low = '' if np.isinf(node.low) else self.constant(np.array(node.low))
            high = '' if np.isinf(node.high) else self.constant(np.array(node.high))
            return self.emit('Clip', x, low, high)
        if node.kind == 'hardsigmoid':
            return self.emit('HardSigmoid', x, alpha=1 / 6, beta=0.5)
        if node.kind == 'hardswish':
            return self.emit('HardSwish', x)
        if node.kind == 'silu':
            return self.emit('Mul', x, self.emit('Sigmoid', x))
        if node.kind == 'leaky':
            return self.emit('LeakyRelu', x, alpha=node.low)
        if node.kind == 'gelu':
            scaled = self.emit('Mul', x, self.constant(np.array(0.5**0.5)))
            one = self.emit('Add', self.emit('Erf', scaled), self.constant(np.array(1.0)))
            return self.emit('Mul', self.emit('Mul', x, one), self.constant(np.array(0.5)))
        return self.emit({'sigmoid': 'Sigmoid', 'tanh': 'Tanh'}[node.kind], x)

    def _add(self, node: Node, *terms: str) -> str:
        total = terms[0]
        for term in terms[1:]:
            total = self.emit('Add', total, term)
        if node.bias is not None:
            total = self.emit('Add', total, self.constant(node.bias[None, :, None, None]))
        return total

    def _mul(self, node: Node, x: str, y: str) -> str:
        return self.emit('Mul', x, y)

    def _resize(self, node: Node, x: str) -> str:
        modes = dict(
            nearest=dict(
                mode='nearest',
                nearest_mode='floor',
                coordinate_transformation_mode='asymmetric',
            ),
            bilinear=dict(mode='linear', coordinate_transformation_mode='half_pixel'),
            bilinear_corners=dict(mode='linear', coordinate_transformation_mode='align_corners'),
        )
        return self.emit('Resize', x, '', '', self.size(node), axes=[2, 3], **modes[node.kind])

    def _stuff(self, node: Node, x: str) -> str:
        ones = self.constant(np.ones((node.channels, 1, 1, 1)))
        strides = list(node.stride)
        return self.emit('ConvTranspose', x, ones, group=node.channels, strides=strides)

    def _concat(self, node: Node, *parts: str) -> str:
        return self.emit('Concat', *parts, axis=1)

    def _slice(self, node: Node, x: str) -> str:
        ends = self.ints(node.start + node.channels)
        return self.emit('Slice', x, self.ints(node.start), ends, self.ints(1))

    def _pool(self, node: Node, x: str) -> str:
        assert node.padding is not None
        attributes: dict[str, Any] = dict(
            kernel_shape=list(node.window),
            strides=list(node.stride),
            pads=list(node.padding),
            ceil_mode=int(node.ceil),
        )
        if node.kind == 'max':
            return self.emit('MaxPool', x, **attributes)
        return self.emit('AveragePool', x, count_include_pad=int(node.count_padding), **attributes)

    def _adaptive_pool(self, node: Node, x: str) -> str:
        """A pooling to few pixels: the mean of bins, as a product with two matrices."""
        size = tuple(rule[-1].value for rule in self._sizes[id(node)])
        if size == (1, 1):
            if node.kind == 'max':
                return self.emit('GlobalMaxPool', x)
            return self.emit('GlobalAveragePool', x)
        if node.kind == 'max':
            raise ValueError(f'{node.name}: ONNX has no pooling of maxima to {size} pixels')
        before = self._sizes[id(node.inputs[0])]
        rows, columns = (self._bins(size[i], self.length(i, before[i])) for i in (0, 1))
        return self.emit('MatMul', self.emit('MatMul', rows, x), self._turned(columns))

    def _bins(self, count: int, length: str) -> str:
        """(count, length): row i averages the pixels of bin i, as PyTorch draws the bins."""
        scalar = self.emit('Squeeze', length)
        zero, one = (self.constant(np.array(value, np.int64)) for value in (0, 1))
        pixel = self.emit('Range', zero, scalar, one)  # (length,)
        index = self.constant(np.arange(count, dtype=np.int64)[:, None])
        total = self.ints(count)
        first = self.emit('Div', self.emit('Mul', index, length), total)
        past = self.emit('Mul', self.emit('Add', index, one), length)
        past = self.emit('Div', self.emit('Add', past, self.ints(count - 1)), total)
        inside = self.emit(
            'And', self.emit('GreaterOrEqual', pixel, first), self.emit('Less', pixel, past)
        )
        pixels = self.emit('Cast', self.emit('Sub', past, first), to=TensorProto.FLOAT)
        return self.emit('Div', self.emit('Cast', inside, to=TensorProto.FLOAT), pixels)

    def _turned(self, matrix: str) -> str:
        return self.emit('Transpose', matrix, perm=[1, 0])

    def _reshaped(self, node: Node, x: str) -> str:
        batch = self.emit('Shape', 'pictures', start=0, end=1)
        shape = self.emit('Concat', batch, self.ints(node.channels), self.size(node), axis=0)
        return self.emit('Reshape', x, shape)

    _tokens = _grid = _reshaped

    def _transpose(self, node: Node, x: str) -> str:
        return self.emit('Transpose', x, perm=[0, 3, 2, 1])

    def _linear(self, node: Node, x: str) -> str:
        assert node.weight is not None
        assert node.bias is not None
        product = self.emit('MatMul', x, self.constant(node.weight.T))
        return self.emit('Add', product, self.constant(node.bias)) if node.bias.any() else product

    def _matmul(self, node: Node, x: str, y: str) -> str:
        axes = self.ints(2)
        product = self.emit('MatMul', self.emit('Squeeze', x, axes), self.emit('Squeeze', y, axes))
        return self.emit('Unsqueeze', product, axes)

    def _softmax(self, node: Node, x: str) -> str:
        return self.emit('Softmax', x, axis=-1)

    def _norm(self, node: Node, x: str) -> str:
        assert node.weight is not None
        assert node.bias is not None
        weight, bias = self.constant(node.weight), self.constant(node.bias)
        return self.emit('LayerNormalization', x, weight, bias, axis=-1, epsilon=node.epsilon)


def picture_shape(model: onnx.ModelProto) -> Sequence[int | str]:
    """The shape of the pictures that an ONNX model takes; names where any length goes."""
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    return [d.dim_param or d.dim_value for d in dimensions]
