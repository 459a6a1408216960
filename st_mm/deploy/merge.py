"""Linear layers in a row multiplied out, where the product has fewer weights that are not zero."""

from collections.abc import Callable

import numpy as np

from .graph import Array, Graph, Node
from .sizes import size_at

NOMINAL = (512, 512)  # the size of picture that costs are compared at
RESIZE_COST = 4  # an interpolated value costs about as much as so many multiply-adds


def multiply_out(graph: Graph) -> Graph | None:
    """Multiply one pair of layers out, or move one 1x1 convolution before a resize.

    Args:
        graph (Graph): A network in plain form; it is not changed.

    Returns:
        Graph, optional: A cheaper graph that computes the same; None where there is none.
    """
    graph = graph.copy()
    users, sizes = graph.users(), graph.sizes()

    def positions(node: Node) -> int:
        height, width = size_at(sizes[id(node)], *NOMINAL)
        return height * width

    for node in graph.nodes():
        if not node.pointwise:
            continue
        before = node.inputs[0]
        alone = len(users[id(before)]) == 1
        new = None
        if alone and before.op in ('add', 'conv'):
            new = _product(node, before, users)
        elif before.op in ('concat', 'resize'):
            new = _before_resize(node, before, positions)
        if new is not None:
            graph.put(node, new)
            return graph
    return None


def _product(node: Node, before: Node, users: dict[int, list[Node]]) -> Node | None:
    """A 1x1 convolution of a convolution, or of a sum of some, as one or a sum of them."""
    assert node.weight is not None
    assert node.bias is not None
    terms = before.inputs if before.op == 'add' else [before]
    factor = node.weight[:, :, 0, 0]
    old, new, products, bias = _count(factor), 0, [], node.bias
    if before.op == 'add' and before.bias is not None:
        bias = bias + factor @ before.bias
    for term in terms:
        if term.op == 'conv' and term.groups == 1 and len(users[id(term)]) == 1:
            assert term.weight is not None
            assert term.bias is not None
            weight = np.einsum('om,mikl->oikl', factor, term.weight)
            bias = bias + factor @ term.bias
            old += _count(term.weight)
            products.append(term.copy(channels=node.channels, weight=weight, bias=0 * node.bias))
        else:
            weight = node.weight
            products.append(node.copy(inputs=[term], bias=0 * node.bias))
        new += _count(weight)
    if new >= old or not products:
        return None
    products[0].bias = bias
    if len(products) == 1:
        return products[0]
    return Node('add', node.channels, products, node.name)


def _before_resize(node: Node, joined: Node, positions: Callable[[Node], int]) -> Node | None:
    """A 1x1 convolution of resized maps as resized 1x1 convolutions, where that costs less."""
    assert node.weight is not None
    assert node.bias is not None
    parts = joined.inputs if joined.op == 'concat' else [joined]
    resizes = [part for part in parts if part.op == 'resize' and part.kind != 'nearest']
    if node.channels * len(resizes) > sum(part.channels for part in resizes):
        return None  # more to resize than before
    full, saved, start = positions(node), 0.0, 0
    terms: list[Node] = []
    for part in parts:
        weight = node.weight[:, start : start + part.channels]
        start += part.channels
        conv = node.copy(inputs=[part], weight=weight, bias=0 * node.bias)
        if part in resizes and weight.any():
            small = positions(part.inputs[0])
            saved += _count(weight) * (full - small) - RESIZE_COST * node.channels * full
            conv.inputs = part.inputs
            conv = part.copy(inputs=[conv], channels=node.channels)
        terms.append(conv)
    if saved <= 0:
        return None
    first = terms[0] if terms[0].op == 'conv' else terms[0].inputs[0]
    first.bias = node.bias
    return terms[0] if len(terms) == 1 else Node('add', node.channels, terms, node.name)


def _count(weight: Array) -> int:
    return int(np.count_nonzero(weight))
