"""Which channels are the same number everywhere, and what that number is."""

import numpy as np
import torch
from numpy.typing import NDArray

from .execute import activate
from .graph import Array, Graph, Node

ZEROS = (0, 0, 0, 0)


def fold_constants(graph: Graph) -> dict[int, Array]:
    """Find constant channels, and move what convolutions make of them into their biases.

    Args:
        graph (Graph): Its nodes' weights, biases and sums are replaced; what it computes stays.

    Returns:
        dict[int, Array]: By ``id`` of a node, (C,): the number that a channel is everywhere, and
        not-a-number where it differs from place to place or from picture to picture.
    """
    constants: dict[int, Array] = {}
    for node in graph.nodes():
        if node.op == 'conv':
            _absorb(node, constants[id(node.inputs[0])])
        elif node.op == 'add':
            _collect(node, constants)
        known = _of_node(node, [constants[id(before)] for before in node.inputs])
        constants[id(node)] = known
    return constants


def unpadded(node: Node) -> bool:
    """Whether a convolution reads no zeros around its input."""
    assert node.weight is not None
    return node.padding == ZEROS or (node.padding is None and node.weight.shape[2:] == (1, 1))


def is_zero(weight: Array) -> NDArray[np.bool_]:
    """Which rows of a weight, (O, ...), are all zero: (O,) bool."""
    result: NDArray[np.bool_] = (weight == 0).all(axis=tuple(range(1, weight.ndim)))
    return result


def _absorb(node: Node, before: Array) -> None:
    """Move the shares of constant channels into the bias, where no zeros stand around the map."""
    assert node.weight is not None
    assert node.bias is not None
    if node.groups not in (1, node.channels) or not (node.groups == 1 or node.depthwise):
        return
    absorbed = (before == 0) | (~np.isnan(before) & unpadded(node))
    if not absorbed.any():
        return
    values = np.where(absorbed, before, 0.0)
    share = node.weight.sum((2, 3))  # (O, I), or (O, 1)
    weight = node.weight.copy()
    if node.groups == 1:
        node.bias = node.bias + share @ values
        weight[:, absorbed] = 0
    else:
        node.bias = node.bias + share[:, 0] * values
        weight[absorbed] = 0
    node.weight = weight


def _collect(node: Node, constants: dict[int, Array]) -> None:
    """Move terms that are constant in every channel into the bias of a sum."""
    terms = []
    for term in node.inputs:
        value = constants[id(term)]
        if np.isnan(value).any():
            terms.append(term)
        else:
            node.bias = value if node.bias is None else node.bias + value
    node.inputs = terms


def _of_node(node: Node, inputs: list[Array]) -> Array:
    """The constants of one node, from those of its inputs."""
    unknown = np.full(node.channels, np.nan)
    if node.op == 'constant':
        assert node.value is not None
        flat = node.value.reshape(node.channels, -1 if node.channels else 1)
        return np.where((flat == flat[:, :1]).all(1), flat[:, 0], np.nan)
    if node.op == 'conv':
        assert node.weight is not None
        assert node.bias is not None
        return np.where(is_zero(node.weight), node.bias, np.nan)
    if node.op == 'act':
        return activate(torch.from_numpy(inputs[0]), node).numpy()
    if node.op == 'add':
        total = np.zeros(node.channels) if node.bias is None else node.bias
        return total + sum(inputs) if inputs else total
    if node.op == 'mul':
        product = inputs[0] * inputs[1]
        return np.where((inputs[0] == 0) | (inputs[1] == 0), 0.0, product)
    if node.op in ('resize', 'adaptive_pool') or (node.op == 'pool' and _keeps_constants(node)):
        return inputs[0]
    if node.op in ('stuff', 'pool'):
        return np.where(inputs[0] == 0, 0.0, np.nan)
    if node.op == 'concat':
        return np.concatenate(inputs)
    if node.op == 'slice':
        return inputs[0][node.start : node.start + node.channels]
    return unknown


def _keeps_constants(node: Node) -> bool:
    """Whether a pooling of a constant is that constant at the border too."""
    return node.kind == 'max' or not node.count_padding or (node.padding == ZEROS and not node.ceil)
