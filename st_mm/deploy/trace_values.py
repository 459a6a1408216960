"""How torch functions become nodes: what has no weights, value by value or moving values."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .graph import Node
from .trace_ops import Handler, Unsupported, affine, as_map, handles, map_shape, pair

if TYPE_CHECKING:
    from .trace import Recorder

INF = float('inf')


# Activations


def activation(kind: str, **fields: float) -> Handler:
    """The handler of an activation whose arguments do not matter."""

    def handler(rec: 'Recorder', result: Tensor, x: Tensor, *_: Any, **__: Any) -> None:
        node = rec.add('act', result, None, inputs=[rec.node_of(x)], kind=kind, **fields)
        rec.know(result, node)

    return handler


for _kind in ('hardsigmoid', 'hardswish', 'sigmoid', 'silu', 'tanh'):
    handles(_kind)(activation(_kind))
handles('relu')(activation('clip'))
handles('relu6')(activation('clip', high=6.0))


@handles('gelu')
def _gelu(rec: 'Recorder', result: Tensor, x: Tensor, approximate: str = 'none') -> None:
    if approximate != 'none':
        raise Unsupported(f'is approximated by {approximate}')
    activation('gelu')(rec, result, x)


@handles('leaky_relu')
def _leaky_relu(
    rec: 'Recorder', result: Tensor, x: Tensor, negative_slope: float = 0.01, inplace: bool = False
) -> None:
    activation('leaky', low=negative_slope)(rec, result, x)


def _clip(names: tuple[str, str], defaults: tuple[float | None, float | None]) -> Handler:
    def handler(rec: 'Recorder', result: Tensor, x: Tensor, *args: Any, **named: Any) -> None:
        low, high = (args[i] if len(args) > i else named.get(names[i], defaults[i]) for i in (0, 1))
        low, high = -INF if low is None else float(low), INF if high is None else float(high)
        activation('clip', low=low, high=high)(rec, result, x)

    return handler


handles('clamp', 'clip')(_clip(('min', 'max'), (None, None)))
handles('clamp_min')(_clip(('min', ''), (None, None)))
handles('hardtanh')(_clip(('min_val', 'max_val'), (-1.0, 1.0)))


# Arithmetic


def as_tensor(value: Any, like: Tensor) -> Tensor:
    """A number as a tensor; a tensor as it is."""
    return value if isinstance(value, Tensor) else torch.tensor(float(value), dtype=like.dtype)


def per_channel(value: Tensor, like: Tensor) -> Tensor | None:
    """A value that does not change along a map, as one number per channel; None if it does."""
    full = as_map(value.expand_as(like))
    return full[:, 0, 0] if bool((full == full[:, :1, :1]).all()) else None


@handles('add')
def _add(rec: 'Recorder', result: Tensor, x: Any, y: Any, *, alpha: float = 1) -> None:
    combine(rec, result, x, as_tensor(y, result) * alpha if alpha != 1 else y)


@handles('sub')
def _sub(rec: 'Recorder', result: Tensor, x: Any, y: Any, *, alpha: float = 1) -> None:
    combine(rec, result, x, y, signs=(1, -alpha))


@handles('rsub')
def _rsub(rec: 'Recorder', result: Tensor, x: Any, y: Any, *, alpha: float = 1) -> None:
    combine(rec, result, y, x, signs=(1, -alpha))


@handles('neg')
def _neg(rec: 'Recorder', result: Tensor, x: Tensor) -> None:
    scale_by(rec, result, x, -1.0)


def scale_by(rec: 'Recorder', result: Tensor, x: Tensor, factor: float) -> Node:
    """A value times a number."""
    node = rec.node_of(x)
    scale = torch.full((node.channels,), factor, dtype=torch.float64).numpy()
    affine(rec, result, node, scale, 0.0 * scale)
    return rec.node_of(result)


def combine(
    rec: 'Recorder', result: Tensor, x: Any, y: Any, signs: tuple[float, float] = (1, 1)
) -> None:
    """The sum of two values, of which one may be a number or a constant."""
    values = [as_tensor(x, result), as_tensor(y, result)]
    for i in (0, 1):
        constant, other = values[i], values[1 - i]
        if rec.knows(constant) or other.shape != result.shape:
            continue
        shift = per_channel(constant, result)
        if shift is not None:
            node = rec.node_of(other)
            scale = torch.full((node.channels,), float(signs[1 - i]), dtype=torch.float64)
            return affine(rec, result, node, scale.numpy(), (signs[i] * shift).numpy())
    terms = []
    for value, sign in zip(values, signs, strict=True):
        node = spread(rec, value, result)
        if sign != 1:
            rec.know(value, node)
            scaled = value.clone()
            node = scale_by(rec, scaled, value, sign)
        terms.append(node)
    rec.know(result, rec.add('add', result, inputs=terms))


def spread(rec: 'Recorder', value: Tensor, like: Tensor) -> Node:
    """The node of a value, brought to the size of a result where it is one pixel."""
    node = rec.node_of(value, None if rec.knows(value) else like)
    shape, wanted = rec.shapes[id(node)], map_shape(like)
    if shape == wanted:
        return node
    if shape != (wanted[0], 1, 1):
        raise Unsupported(f'spreads a value of shape {shape} over one of shape {wanted}')
    return resized(rec, like, node, 'nearest')


@handles('mul')
def _mul(rec: 'Recorder', result: Tensor, x: Any, y: Any) -> None:
    values = [as_tensor(x, result), as_tensor(y, result)]
    for constant, other in (values, values[::-1]):
        if not rec.knows(constant) and other.shape == result.shape:
            scale = per_channel(constant, result)
            if scale is not None:
                return affine(rec, result, rec.node_of(other), scale.numpy(), 0.0 * scale.numpy())
    if values[0].shape != result.shape:
        values.reverse()
    nodes = [rec.node_of(v, None if rec.knows(v) else result) for v in values]
    shapes, wanted = [rec.shapes[id(node)] for node in nodes], map_shape(result)
    if shapes[1] == (1, *wanted[1:]) != wanted:  # one map for all channels
        nodes[1] = ones(rec, result, nodes[1], wanted)
        shapes[1] = wanted
    if shapes[0] != wanted or shapes[1] not in (wanted, (wanted[0], 1, 1)):
        raise Unsupported(f'works on values of shape {shapes[0]} and {shapes[1]}')
    rec.know(result, rec.add('mul', result, inputs=nodes))


@handles('div', 'truediv')
def _div(rec: 'Recorder', result: Tensor, x: Any, y: Any) -> None:
    if not rec.knows(x) or rec.knows(y):
        raise Unsupported('divides by a value that depends on the picture')
    _mul(rec, result, x, 1 / as_tensor(y, result))


@handles('sum')
def _sum(
    rec: 'Recorder', result: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False, **_: Any
) -> None:
    axes = [axis % x.dim() for axis in ([dim] if isinstance(dim, int) else dim or [])]
    if x.dim() != 4 or axes != [1]:
        raise Unsupported(f'works on axes {dim} of a value of shape {tuple(x.shape)}')
    rec.know(result, ones(rec, result, rec.node_of(x), (1, x.shape[2], x.shape[3])))


def ones(rec: 'Recorder', result: Tensor, x: Node, shape: tuple[int, int, int]) -> Node:
    """Every channel the sum of all channels of a map: a 1x1 convolution."""
    weight = torch.ones(shape[0], x.channels, 1, 1, dtype=torch.float64).numpy()
    bias = torch.zeros(shape[0], dtype=torch.float64).numpy()
    return rec.add('conv', result, shape, channels=shape[0], inputs=[x], weight=weight, bias=bias)


# Sizes


def resized(rec: 'Recorder', result: Tensor, node: Node, kind: str) -> Node:
    """A resize to the size of a tensor."""
    new = rec.add('resize', result, channels=node.channels, inputs=[node], kind=kind)
    rec.targets[id(new)] = map_shape(result)[1:]
    return new


@handles('interpolate')
def _interpolate(
    rec: 'Recorder',
    result: Tensor,
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = 'nearest',
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> None:
    if mode not in ('nearest', 'bilinear') or antialias or input.dim() != 4:
        raise Unsupported(f'resizes with mode {mode!r}, antialias {antialias}')
    kind = 'bilinear_corners' if align_corners else mode
    rec.know(result, resized(rec, result, rec.node_of(input), kind))


@handles('expand', 'expand_as')
def _expand(rec: 'Recorder', result: Tensor, x: Tensor, *_: Any, **__: Any) -> None:
    rec.know(result, spread(rec, x, result))


@handles('mean')
def _mean(rec: 'Recorder', result: Tensor, x: Tensor, dim: Any = None, *_: Any, **__: Any) -> None:
    axes = sorted(axis % x.dim() for axis in ([dim] if isinstance(dim, int) else dim or []))
    if x.dim() != 4 or axes != [2, 3]:
        raise Unsupported(f'works on axes {dim} of a value of shape {tuple(x.shape)}')
    adaptive(rec, result, x, 'average', (1, 1))


def adaptive(rec: 'Recorder', result: Tensor, x: Tensor, kind: str, size: tuple[int, int]) -> None:
    """A pooling to a fixed size."""
    node = rec.node_of(x)
    channels = node.channels
    new = rec.add('adaptive_pool', result, (channels, *size), inputs=[node], kind=kind)
    rec.targets[id(new)] = size
    rec.know(result, new)


@handles('adaptive_avg_pool2d')
def _adaptive_avg_pool2d(rec: 'Recorder', result: Tensor, x: Tensor, *_: Any, **__: Any) -> None:
    adaptive(rec, result, x, 'average', (result.shape[2], result.shape[3]))


@handles('adaptive_max_pool2d')
def _adaptive_max_pool2d(rec: 'Recorder', result: Tensor, x: Tensor, *_: Any, **__: Any) -> None:
    adaptive(rec, result, x, 'max', (result.shape[2], result.shape[3]))


@handles('avg_pool2d')
def _avg_pool2d(
    rec: 'Recorder',
    result: Tensor,
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> None:
    if divisor_override is not None:
        raise Unsupported('divides by a number of its own')
    fields = dict(kind='average', ceil=ceil_mode, count_padding=count_include_pad)
    window(rec, result, x, kernel_size, stride, padding, fields)


@handles('max_pool2d')
def _max_pool2d(
    rec: 'Recorder',
    result: Tensor,
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> None:
    if pair(dilation) != (1, 1) or return_indices:
        raise Unsupported('is dilated, or returns indices')
    window(rec, result, x, kernel_size, stride, padding, dict(kind='max', ceil=ceil_mode))


def window(
    rec: 'Recorder',
    result: Tensor,
    x: Tensor,
    kernel: Any,
    stride: Any,
    padding: Any,
    fields: dict[str, Any],
) -> None:
    """A pooling with a window."""
    node = rec.add(
        'pool',
        result,
        inputs=[rec.node_of(x)],
        window=pair(kernel),
        stride=pair(kernel if stride in (None, []) else stride),
        padding=pair(padding) * 2,
        **fields,
    )
    rec.know(result, node)


# Moving values


@handles(
    'dropout',
    'dropout2d',
    'contiguous',
    'clone',
    'to',
    'float',
    'double',
    'type',
    'type_as',
    'detach',
)
def _unchanged(rec: 'Recorder', result: Tensor, x: Tensor, *_: Any, **__: Any) -> None:
    rec.know(result, rec.node_of(x))


@handles('cat', 'concat', 'concatenate')
def _cat(rec: 'Recorder', result: Tensor, tensors: Sequence[Tensor], dim: int = 0) -> None:
    if dim not in (1, 1 - result.dim()):
        raise Unsupported(f'works on axis {dim}; only channels are joined')
    parts = [rec.node_of(t) for t in tensors if t.numel()]
    node = parts[0] if len(parts) == 1 else rec.add('concat', result, inputs=parts)
    rec.know(result, node)


@handles('split', 'chunk', 'split_with_sizes', 'tensor_split')
def _split(
    rec: 'Recorder', result: Sequence[Tensor], x: Tensor, sizes: Any = None, dim: int = 0, **_: Any
) -> None:
    if dim not in (1, 1 - x.dim()):
        raise Unsupported(f'works on axis {dim}; only channels are split')
    start = 0
    for part in result:
        cut(rec, part, x, start)
        start += part.shape[1]


def cut(rec: 'Recorder', result: Tensor, x: Tensor, start: int) -> None:
    """Some channels of a map."""
    node = rec.node_of(x)
    if result.shape != x.shape:
        node = rec.add('slice', result, inputs=[node], start=start)
    rec.know(result, node)


@handles('getitem')
def _getitem(rec: 'Recorder', result: Tensor, x: Tensor, index: Any) -> None:
    index = index if isinstance(index, tuple) else (index,)
    whole = [i for i, part in enumerate(index) if part in (slice(None), Ellipsis)]
    if len(index) < 2 or len(whole) != len(index) - 1 or 1 in whole or index[0] is Ellipsis:
        if len(whole) == len(index):
            return _unchanged(rec, result, x)
        raise Unsupported(f'takes {index} of a value; only channels are cut')
    if not isinstance(index[1], slice) or index[1].step not in (None, 1):
        raise Unsupported(f'takes {index} of a value; only channels in a row are cut')
    cut(rec, result, x, index[1].indices(x.shape[1])[0])


@handles('flatten', 'view', 'reshape', 'unflatten', 'squeeze', 'unsqueeze')
def _reshape(rec: 'Recorder', result: Tensor, x: Tensor, *_: Any, **__: Any) -> None:
    node, shape = rec.node_of(x), map_shape(result)
    before = rec.shapes[id(node)]
    if shape == before:
        return rec.know(result, node)
    if shape[0] != before[0] or 1 not in (shape[1], before[1]):
        raise Unsupported(f'makes a value of shape {shape} of one of shape {before}')
    new = rec.add('tokens' if shape[1] == 1 else 'grid', result, inputs=[node])
    rec.targets[id(new)] = shape[1:]
    rec.know(result, new)


@handles('transpose', 'permute')
def _transpose(rec: 'Recorder', result: Tensor, x: Tensor, *axes: Any, **named: Any) -> None:
    order = axes[0] if len(axes) == 1 else axes
    swaps = (0, 2, 1), (0, -1, -2), (1, 2), (2, 1), (-2, -1), (-1, -2)
    if x.dim() != 3 or tuple(order) not in swaps or named:
        raise Unsupported(f'moves axes {order} of a value of shape {tuple(x.shape)}')
    new = rec.add('transpose', result, inputs=[rec.node_of(x)])
    rec.targets[id(new)] = map_shape(result)[1:]
    rec.know(result, new)
