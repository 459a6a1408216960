"""How torch functions become nodes: maps of another size, by resizing and pooling."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from .graph import Node
from .trace_ops import Unsupported, handles, map_shape, pair

if TYPE_CHECKING:
    from .trace import Recorder


def resized(rec: 'Recorder', result: Tensor, node: Node, kind: str) -> Node:
    """A resize to the size of a tensor."""
    new = rec.add('resize', result, channels=node.channels, inputs=[node], kind=kind)
    rec.targets[id(new)] = map_shape(result)[1:]
    return new


def spread(rec: 'Recorder', value: Tensor, like: Tensor) -> Node:
    """The node of a value, brought to the size of a result where it is one pixel."""
    node = rec.node_of(value, None if rec.knows(value) else like)
    shape, wanted = rec.shapes[id(node)], map_shape(like)
    if shape == wanted:
        return node
    if shape != (wanted[0], 1, 1):
        raise Unsupported(f'spreads a value of shape {shape} over one of shape {wanted}')
    return resized(rec, like, node, 'nearest')


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
