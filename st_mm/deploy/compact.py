"""Exact compaction: the same function with everything gone that no output depends on.

Zero rows, filters and columns make channels dead or constant. Constants are folded forward into
biases, liveness runs backward from the outputs, and dead channels are cut, until nothing changes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .constants import fold_constants, is_zero
from .graph import Graph, Node
from .merge import multiply_out
from .simplify import is_affine, simplify

Mask = NDArray[np.bool_]

# channel c of the output depends on channel c of every input alone
ALIGNED = frozenset(
    ('act', 'add', 'mul', 'resize', 'pool', 'adaptive_pool', 'stuff', 'tokens', 'grid', 'softmax')
)
ALIGNED |= {'norm', 'linear'}


@dataclass(frozen=True)
class Compaction:
    """What a compaction has found.

    Attributes:
        units (int): Hidden channels (filters of depthwise convolutions) before.
        dead (int): Hidden channels that were removed: nothing depended on them.
        frame (int): Hidden channels that are left but constant except at the borders, where the
            zeros around a map show.
        weights_before (int): Weights that are not zero, before.
        weights_after (int): Weights that are not zero, after.
        rounds (int): Rounds until nothing changed.
    """

    units: int
    dead: int
    frame: int
    weights_before: int
    weights_after: int
    rounds: int

    def __str__(self) -> str:
        share = f'{self.dead / self.units:.1%}' if self.units else 'none'
        return (
            f'{self.dead:,} of {self.units:,} hidden units were dead ({share}), {self.frame:,} '
            f'are constant but for the borders; {self.weights_before:,} weights that are not '
            f'zero became {self.weights_after:,}'
        )


def compact(graph: Graph) -> tuple[Graph, Compaction]:
    """Remove everything that no output depends on.

    Args:
        graph (Graph): A network, as traced or in plain form; it is not changed.

    Returns:
        tuple[Graph, Compaction]: A graph that computes the same up to rounding, and what was found.
    """
    graph = simplify(graph)
    units, weights = _units(graph), _weights(graph)
    _make_dense(graph)
    rounds = 0
    while True:
        before = _extent(graph)
        rounds += 1
        _round(graph)
        if _extent(graph) == before:
            merged = multiply_out(graph)
            if not merged:
                break
            graph = simplify(merged)
    _move_biases(graph)
    frame = _frame_units(graph)
    return graph, Compaction(units, units - _units(graph), frame, weights, _weights(graph), rounds)


def _round(graph: Graph) -> None:
    """Fold constants, find what is needed, and cut the rest."""
    sizes, constants = graph.sizes(), fold_constants(graph)
    for node in graph.nodes():
        known = constants[id(node)]
        if node.op in ('input', 'constant') or np.isnan(known).any():
            continue
        graph.put(
            node, Node('constant', node.channels, name=node.name, value=known, size=sizes[id(node)])
        )
    for node in graph.nodes():
        if node.op == 'concat':
            node.inputs = [part for part in node.inputs if part.channels]
    _cut(graph, _closed(graph, _needed(graph)))


def _needed(graph: Graph) -> dict[int, Mask]:
    """Which channels of each node an output depends on: (C,) bool by ``id``."""
    nodes = graph.nodes()
    needed = {id(node): np.zeros(node.channels, bool) for node in nodes}
    for output in graph.outputs:
        needed[id(output)][:] = True
    for node in reversed(nodes):
        own = needed[id(node)]
        if node.op == 'conv' and node.groups == 1:
            assert node.weight is not None
            needed[id(node.inputs[0])] |= (node.weight[own] != 0).any((0, 2, 3))
        elif node.depthwise:
            assert node.weight is not None
            needed[id(node.inputs[0])] |= own & ~is_zero(node.weight)
    return needed


def _closed(graph: Graph, keep: dict[int, Mask]) -> dict[int, Mask]:
    """Keep more channels until those that must go together do.

    Maps that are added or passed on channel by channel have one set of channels.
    """
    nodes = graph.nodes()
    keep[id(graph.picture)][:] = True

    def same(a: Mask, b: Mask) -> bool:
        if (a == b).all():
            return False
        a |= b
        b |= a
        return True

    changed = True
    while changed:
        changed = False
        for node in reversed(nodes):
            own, inputs = keep[id(node)], [keep[id(before)] for before in node.inputs]
            if node.op in ALIGNED or node.depthwise:
                for other in inputs:
                    changed = same(own, other) or changed
            elif node.op == 'concat':
                start = 0
                for other in inputs:
                    changed = same(own[start : start + len(other)], other) or changed
                    start += len(other)
            elif node.op == 'slice':
                part = inputs[0][node.start : node.start + node.channels]
                changed = same(own, part) or changed
            elif node.op == 'matmul':
                everything = np.ones(len(inputs[1]), bool)
                changed = same(own, inputs[0]) or changed
                changed = same(inputs[1], everything) or changed
            elif node.op == 'transpose' or (node.op == 'conv' and node.groups != 1):
                for mask in (own, inputs[0]):
                    changed = same(mask, np.ones(len(mask), bool)) or changed
            elif node.op == 'conv':  # what this round's liveness needs of its input
                assert node.weight is not None
                read = (node.weight[own] != 0).any((0, 2, 3))
                if (read & ~inputs[0]).any():
                    inputs[0] |= read
                    changed = True
    return keep


def _cut(graph: Graph, keep: dict[int, Mask]) -> None:
    """Cut every node's channels to those that are kept."""
    for node in graph.nodes():
        own = keep[id(node)]
        if node.op == 'slice':
            node.start = int(keep[id(node.inputs[0])][: node.start].sum())
        if node.op == 'conv':
            assert node.weight is not None
            assert node.bias is not None
            if node.groups == 1:
                node.weight = node.weight[own][:, keep[id(node.inputs[0])]]
            else:
                node.weight = node.weight[own]
                if len(own) != own.sum():
                    node.groups = int(own.sum())
            node.bias = node.bias[own]
        elif node.op == 'add' and node.bias is not None:
            node.bias = node.bias[own]
        elif node.op == 'constant':
            assert node.value is not None
            node.value = node.value[own]
    for node in graph.nodes():
        node.channels = int(keep[id(node)].sum())


def _make_dense(graph: Graph) -> None:
    """Write grouped 1x1 convolutions with their zeros, so that channels can be cut one by one."""
    for node in graph.nodes():
        if node.op != 'conv' or node.groups == 1 or node.depthwise:
            continue
        assert node.weight is not None
        outputs, inputs = node.weight.shape[0] // node.groups, node.weight.shape[1]
        if node.weight.shape[2:] != (1, 1):
            continue
        dense = np.zeros((node.channels, inputs * node.groups, 1, 1))
        for group in range(node.groups):
            rows = slice(group * outputs, (group + 1) * outputs)
            dense[rows, group * inputs : (group + 1) * inputs] = node.weight[rows]
        node.weight, node.groups = dense, 1


def _move_biases(graph: Graph) -> None:
    """Give the bias of a sum to a convolution among its terms."""
    users = graph.users()
    for node in graph.nodes():
        if node.op != 'add' or node.bias is None:
            continue
        for term in node.inputs:
            if term.bias is not None and term.op == 'conv' and len(users[id(term)]) == 1:
                term.bias, node.bias = term.bias + node.bias, None
                break


def _extent(graph: Graph) -> tuple[int, int, int]:
    """What shrinks from round to round."""
    nodes = graph.nodes()
    edges = sum(len(node.inputs) for node in nodes)
    return len(nodes), edges, sum(node.channels for node in nodes) + _weights(graph)


def _units(graph: Graph) -> int:
    """Filters of depthwise convolutions."""
    return sum(node.channels for node in graph.nodes() if node.depthwise and not is_affine(node))


def _weights(graph: Graph) -> int:
    """Weights that are not zero."""
    return sum(
        int(np.count_nonzero(node.weight)) for node in graph.nodes() if node.weight is not None
    )


def _frame_units(graph: Graph) -> int:
    """Filters of depthwise convolutions whose input is a constant."""
    graph = graph.copy()
    constants = fold_constants(graph)
    return sum(
        int((~np.isnan(constants[id(node.inputs[0])])).sum())
        for node in graph.nodes()
        if node.depthwise and not is_affine(node)
    )
