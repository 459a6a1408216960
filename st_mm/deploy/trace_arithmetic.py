"""How torch functions become nodes: activations and arithmetic, value by value."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .graph import Node
from .trace_ops import Handler, Unsupported, affine, as_map, handles, map_shape
from .trace_sizes import spread

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
