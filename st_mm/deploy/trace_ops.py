"""How torch functions become nodes: the registry, and the layers that have weights."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .graph import Array, Node

if TYPE_CHECKING:
    from .trace import Recorder

Handler = Callable[..., None]
HANDLERS: dict[str, Handler] = {}
# what they return depends on their first argument's shape alone
FACTORIES = frozenset(
    ('new_zeros', 'new_ones', 'new_full', 'new_empty', 'zeros_like', 'ones_like', 'full_like')
)
OPERATORS = frozenset(('add', 'sub', 'mul', 'truediv', 'matmul', 'neg', 'getitem', 'setitem'))


class Unsupported(ValueError):
    """A use of a torch function that the graph has no node for."""


def plain_name(function: Callable[..., Any]) -> str:
    """The name of a function, the same whether it is an operator, a method or works in place."""
    name = getattr(function, '__name__', str(function))
    if name == '__get__':  # an attribute, such as x.T
        return f'.{getattr(getattr(function, "__self__", None), "__name__", "attribute")}'
    if not name.startswith('__'):
        return name.strip('_')
    bare = name.strip('_')
    if bare in ('rsub', 'rtruediv', 'rmatmul') or bare in OPERATORS:
        return bare
    return bare[1:] if bare[1:] in OPERATORS else bare  # iadd, radd


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Register how torch functions become nodes; handlers get the result and the arguments."""

    def register(handler: Handler) -> Handler:
        for name in names:
            HANDLERS[name] = handler
        return handler

    return register


def array(tensor: Tensor) -> Array:
    """A tensor as a float64 array of its own."""
    return tensor.detach().double().cpu().numpy().copy()


def as_map(tensor: Tensor) -> Tensor:
    """A value for one picture as a map: (1, C, H, W), (1, L, D) or (1, C) without its batch."""
    return tensor.detach().double().reshape(map_shape(tensor))


def map_shape(tensor: Tensor) -> tuple[int, int, int]:
    """The (channels, height, width) under which a tensor stands in the graph."""
    shape = tuple(tensor.shape)
    if len(shape) not in (2, 3, 4) or shape[0] != 1:
        raise Unsupported(f'gives a value of shape {shape}; a batch of maps is wanted')
    if len(shape) == 4:
        return shape[1], shape[2], shape[3]
    return (shape[1], 1, shape[2]) if len(shape) == 3 else (shape[1], 1, 1)


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """A number for both axes as two."""
    if isinstance(value, int):
        return value, value
    return (int(value[0]), int(value[-1]))


def affine(rec: 'Recorder', result: Tensor, x: Node, scale: Array, shift: Array) -> None:
    """Scale and shift each channel: a 1x1 depthwise convolution."""
    node = rec.add(
        'conv',
        result,
        channels=x.channels,
        inputs=[x],
        weight=scale.reshape(-1, 1, 1, 1),
        bias=shift,
        groups=x.channels,
    )
    rec.know(result, node)


# Layers


@handles('conv2d')
def _conv2d(
    rec: 'Recorder',
    result: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> None:
    if rec.knows(weight) or not rec.knows(x):
        raise Unsupported('has weights that depend on the picture')
    node = rec.node_of(x)
    kernel, strides, dilations = weight.shape[2:], pair(stride), pair(dilation)
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    if isinstance(padding, str):
        total = [span - 1 if padding == 'same' else 0 for span in spans]
        pads = (total[0] // 2, total[1] // 2, (total[0] + 1) // 2, (total[1] + 1) // 2)
    else:
        pads = pair(padding) * 2
    full: tuple[int, int, int, int] | None = pads
    if node.op == 'pad':
        assert node.padding is not None
        outer = node.padding
        node = node.inputs[0]
        full = tuple(a + b for a, b in zip(outer, pads, strict=True))  # type: ignore[assignment]
        lengths = rec.shapes[id(node)][1:]
        if max(strides) > 1 and not any(pads) and outer == same(lengths, spans, strides):
            full = None
    out = weight.shape[0]
    rec.know(
        result,
        rec.add(
            'conv',
            result,
            channels=out,
            inputs=[node],
            weight=array(weight),
            bias=array(bias) if bias is not None else torch.zeros(out).double().numpy(),
            stride=strides,
            padding=full,
            dilation=dilations,
            groups=groups,
        ),
    )


def same(
    lengths: Sequence[int], spans: Sequence[int], strides: Sequence[int]
) -> tuple[int, int, int, int]:
    """The zeros that give ``ceil(length / stride)`` outputs, the odd one at the end."""
    total = [
        max((-(-length // stride) - 1) * stride + span - length, 0)
        for length, span, stride in zip(lengths, spans, strides, strict=True)
    ]
    before = [zeros // 2 for zeros in total]
    return before[0], before[1], total[0] - before[0], total[1] - before[1]


@handles('conv_transpose2d')
def _conv_transpose2d(
    rec: 'Recorder',
    result: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> None:
    if rec.knows(weight):
        raise Unsupported('has weights that depend on the picture')
    strides, pads, more = pair(stride), pair(padding), pair(output_padding)
    dilations, kernel = pair(dilation), weight.shape[2:]
    node = rec.node_of(x)
    if strides != (1, 1):
        lengths = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], strides, strict=True)]
        shape = (node.channels, *lengths)
        node = rec.add('stuff', result, shape, inputs=[node], stride=strides)
    before = [d * (k - 1) - p for d, k, p in zip(dilations, kernel, pads, strict=True)]
    if min(before) < 0:
        raise Unsupported(f'has a padding of {pads}, wider than its kernel')
    # (I, O / groups, h, w) -> (O, I / groups, h, w), turned round
    inner, outer = weight.shape[0] // groups, weight.shape[1]
    turned = weight.unflatten(0, (groups, inner)).transpose(1, 2).flatten(0, 1).flip(2, 3)
    out = outer * groups
    conv = rec.add(
        'conv',
        result,
        inputs=[node],
        weight=array(turned),
        bias=array(bias) if bias is not None else torch.zeros(out).double().numpy(),
        padding=(before[0], before[1], before[0] + more[0], before[1] + more[1]),
        dilation=dilations,
        groups=groups,
    )
    rec.know(result, conv)


@handles('pad')
def _pad(
    rec: 'Recorder',
    result: Tensor,
    x: Tensor,
    pad: Sequence[int],
    mode: str = 'constant',
    value: float | None = None,
) -> None:
    if mode != 'constant' or value or len(pad) != 4:
        raise Unsupported(f'pads with mode {mode!r}, value {value}, to {tuple(pad)}')
    if not any(pad):
        return rec.know(result, rec.node_of(x))
    left, right, top, bottom = pad
    node = rec.add('pad', result, inputs=[rec.node_of(x)], padding=(top, left, bottom, right))
    rec.know(result, node)


@handles('batch_norm')
def _batch_norm(
    rec: 'Recorder',
    result: Tensor,
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> None:
    if training or running_mean is None or running_var is None:
        raise Unsupported('normalizes with the statistics of the batch')
    scale = (running_var.double() + eps).rsqrt()
    if weight is not None:
        scale = scale * weight.double()
    shift = -running_mean.double() * scale
    if bias is not None:
        shift = shift + bias.double()
    affine(rec, result, rec.node_of(x), array(scale), array(shift))


@handles('linear')
def _linear(
    rec: 'Recorder', result: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> None:
    if rec.knows(weight):
        raise Unsupported('has weights that depend on the picture')
    out = weight.shape[0]
    fields: dict[str, Any] = dict(
        inputs=[rec.node_of(x)],
        weight=array(weight),
        bias=array(bias) if bias is not None else torch.zeros(out).double().numpy(),
    )
    if x.dim() == 2:  # a vector: a 1x1 convolution on a map of one pixel
        fields['weight'] = fields['weight'][:, :, None, None]
        rec.know(result, rec.add('conv', result, **fields))
    elif x.dim() == 3:
        rec.know(result, rec.add('linear', result, **fields))
    else:
        raise Unsupported(f'works on the last axis of a value of shape {tuple(x.shape)}')


@handles('layer_norm')
def _layer_norm(
    rec: 'Recorder',
    result: Tensor,
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> None:
    if len(normalized_shape) != 1 or x.dim() != 3:
        raise Unsupported(f'works on a value of shape {tuple(x.shape)}; tokens are wanted')
    ones, zeros = torch.ones(normalized_shape[0]), torch.zeros(normalized_shape[0])
    node = rec.add(
        'norm',
        result,
        inputs=[rec.node_of(x)],
        weight=array(ones if weight is None else weight),
        bias=array(zeros if bias is None else bias),
        epsilon=eps,
    )
    rec.know(result, node)


@handles('softmax')
def _softmax(
    rec: 'Recorder', result: Tensor, x: Tensor, dim: int | None = None, *_: Any, **__: Any
) -> None:
    if x.dim() != 3 or dim not in (-1, 2):
        raise Unsupported(f'works on axis {dim} of a value of shape {tuple(x.shape)}')
    rec.know(result, rec.add('softmax', result, inputs=[rec.node_of(x)]))


@handles('matmul', 'bmm')
def _matmul(rec: 'Recorder', result: Tensor, x: Tensor, y: Tensor) -> None:
    if x.dim() != 3 or y.dim() != 3:
        raise Unsupported(f'works on values of shape {tuple(x.shape)} and {tuple(y.shape)}')
    rec.know(result, rec.add('matmul', result, inputs=[rec.node_of(x), rec.node_of(y)]))
