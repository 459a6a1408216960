"""How torch functions become nodes: values that are joined, cut and moved, or stay as they are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from .trace_ops import Unsupported, handles, map_shape

if TYPE_CHECKING:
    from .trace import Recorder


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
