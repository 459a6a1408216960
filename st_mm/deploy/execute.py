"""The graph run node by node in PyTorch: slow, plain, and what every other target is held to."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from .graph import Array, Graph, Node
from .sizes import size_at


@torch.no_grad()
def execute(graph: Graph, pictures: Tensor) -> list[Tensor]:
    """Run a graph.

    Args:
        graph (Graph): The network.
        pictures (Tensor): (B, C, H, W), normalized as the network wants them; its dtype is the
            one that is computed in.

    Returns:
        list[Tensor]: The outputs, (B, C, H, W); (B, C) where the network returns vectors and
            (B, L, D) where it returns tokens.

    Raises:
        ValueError: If the network does not take pictures of that shape.
    """
    check_pictures(graph, tuple(pictures.shape))

    def arrays(_: int, node: Node) -> dict[str, Tensor]:
        return {
            name: torch.as_tensor(array, dtype=pictures.dtype, device=pictures.device)
            for name, array in arrays_of(node).items()
        }

    return run_all(graph, pictures, arrays)


def run_all(
    graph: Graph, pictures: Tensor, arrays: Callable[[int, Node], Mapping[str, Tensor]]
) -> list[Tensor]:
    """Compute all nodes in their order.

    Args:
        graph (Graph): The network.
        pictures (Tensor): (B, C, H, W), normalized.
        arrays (Callable): Gives the arrays of a node as tensors, from its place in
            ``graph.nodes()`` and the node.

    Returns:
        list[Tensor]: The outputs.
    """
    values = {id(graph.picture): pictures}
    for number, node in enumerate(graph.nodes()[1:], 1):
        inputs = [values[id(before)] for before in node.inputs]
        values[id(node)] = run(node, inputs, pictures, arrays(number, node))
    results = [values[id(output)] for output in graph.outputs]
    return [shaped(result, rank) for result, rank in zip(results, graph.ranks, strict=True)]


def shaped(result: Tensor, rank: int) -> Tensor:
    """A map (B, C, H, W) with the axes that the network returns."""
    return result.flatten(1) if rank == 2 else result.squeeze(2) if rank == 3 else result


def check_pictures(graph: Graph, shape: tuple[int, ...]) -> None:
    """Refuse pictures of a shape that a graph does not take.

    Raises:
        ValueError: Naming the shape and what is wanted.
    """
    if len(shape) != 4 or shape[1] != graph.picture.channels or not shape[0]:
        raise ValueError(
            f'the network takes pictures (B, {graph.picture.channels}, H, W), got {shape}'
        )
    if graph.image_size not in (None, shape[2:]):
        raise ValueError(
            f'the network takes pictures of {graph.image_size} only (height, width), got '
            f'{shape[2:]}'
        )
    if any(length % graph.multiple for length in shape[2:]):
        raise ValueError(
            f'the network takes heights and widths that are multiples of {graph.multiple}, got '
            f'{shape[2:]}'
        )
    for size in graph.sizes().values():
        size_at(size, *shape[2:])


def arrays_of(node: Node) -> dict[str, Array]:
    """The arrays that a node has, by the name of the field."""
    arrays = {'weight': node.weight, 'bias': node.bias, 'value': node.value}
    return {name: array for name, array in arrays.items() if array is not None}


def run(node: Node, inputs: list[Tensor], pictures: Tensor, arrays: Mapping[str, Tensor]) -> Tensor:
    """Compute one node.

    Args:
        node (Node): The node.
        inputs (list[Tensor]): The maps that it reads, (B, C, H, W) each.
        pictures (Tensor): (B, C, H, W), whose sizes decide that of its map.
        arrays (Mapping[str, Tensor]): Its arrays, see :func:`arrays_of`.

    Returns:
        Tensor: Its map, (B, C, H, W).
    """
    weight, bias, value = (arrays.get(name) for name in ('weight', 'bias', 'value'))
    size = None if node.size is None else size_at(node.size, *pictures.shape[2:])
    if node.op == 'constant':
        assert value is not None
        assert size is not None
        value = value[:, None, None] if value.dim() == 1 else value
        return value.expand(pictures.shape[0], node.channels, *size)
    x = inputs[0]
    if node.op == 'conv':
        assert weight is not None
        return F.conv2d(pad(x, node), weight, bias, node.stride, 0, node.dilation, node.groups)
    if node.op == 'act':
        return activate(x, node)
    if node.op == 'add':
        for other in inputs[1:]:
            x = x + other
        return x if bias is None else x + bias[:, None, None]
    if node.op == 'mul':
        return x * inputs[1]
    if node.op == 'resize':
        assert size is not None
        if node.kind == 'nearest':
            return F.interpolate(x, size, mode='nearest')
        return F.interpolate(x, size, mode='bilinear', align_corners=node.kind != 'bilinear')
    if node.op == 'stuff':
        ones = torch.ones_like(x[0, :, :1, :1])[:, None]
        return F.conv_transpose2d(x, ones, stride=node.stride, groups=node.channels)
    if node.op == 'concat':
        return torch.cat(inputs, 1)
    if node.op == 'slice':
        return x[:, node.start : node.start + node.channels]
    if node.op == 'pool':
        assert node.padding is not None
        padding = node.padding[0], node.padding[1]
        if node.kind == 'max':
            return F.max_pool2d(x, node.window, node.stride, padding, ceil_mode=node.ceil)
        return F.avg_pool2d(x, node.window, node.stride, padding, node.ceil, node.count_padding)
    if node.op == 'adaptive_pool':
        assert size is not None
        pool = F.adaptive_max_pool2d if node.kind == 'max' else F.adaptive_avg_pool2d
        return pool(x, size)
    if node.op in ('tokens', 'grid'):
        assert size is not None
        return x.reshape(x.shape[0], node.channels, *size)
    if node.op == 'transpose':
        return x.transpose(1, 3)
    if node.op == 'linear':
        assert weight is not None
        return F.linear(x, weight, bias)
    if node.op == 'matmul':
        return (x.squeeze(2) @ inputs[1].squeeze(2)).unsqueeze(2)
    if node.op == 'softmax':
        return x.softmax(-1)
    if node.op == 'norm':
        return F.layer_norm(x, x.shape[-1:], weight, bias, node.epsilon)
    raise ValueError(f"{node.name}: unknown op '{node.op}'")


def pad(x: Tensor, node: Node) -> Tensor:
    """Add the zeros that a convolution wants around its input."""
    assert node.weight is not None
    if node.padding is not None:
        top, left, bottom, right = node.padding
    else:
        total = []
        for axis in (0, 1):
            span = node.dilation[axis] * (node.weight.shape[2 + axis] - 1) + 1
            length, stride = x.shape[2 + axis], node.stride[axis]
            total.append(max((-(-length // stride) - 1) * stride + span - length, 0))
        top, left = total[0] // 2, total[1] // 2
        bottom, right = total[0] - top, total[1] - left
    return F.pad(x, (left, right, top, bottom)) if any((top, left, bottom, right)) else x


def activate(x: Tensor, node: Node) -> Tensor:
    """Apply an activation."""
    if node.kind == 'clip':
        return x.clamp(node.low, None if node.high == float('inf') else node.high)
    if node.kind == 'leaky':
        return F.leaky_relu(x, node.low)
    functions: dict[str, Callable[[Tensor], Tensor]] = dict(
        hardsigmoid=F.hardsigmoid,
        hardswish=F.hardswish,
        sigmoid=torch.sigmoid,
        silu=F.silu,
        gelu=F.gelu,
        tanh=torch.tanh,
    )
    return functions[node.kind](x)
