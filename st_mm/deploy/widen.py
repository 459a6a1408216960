"""The graph as dense runtimes run it fastest: hidden channels in multiples of their vectors.

What compaction leaves has any number of hidden channels. ONNX Runtime has its fast depthwise
convolutions for multiples of its block alone (16 floats with AVX-512, 8 with AVX2). Zero channels
fill up the rest; kernels of a block that have few channels share a convolution, so that less has to
be filled.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .graph import Array, Graph, Node
from .select import select

MULTIPLE = 16


@dataclass(frozen=True)
class Chain:
    """A pointwise, a depthwise and a pointwise convolution in a row, read by nobody else."""

    expand: Node
    first: Node | None  # the activation after the pointwise convolution
    filter: Node
    second: Node | None  # the one after the depthwise convolution
    project: Node

    @property
    def key(self) -> tuple[object, ...]:
        """What chains must have in common to be one."""
        acts = [None if a is None else (a.kind, a.low, a.high) for a in (self.first, self.second)]
        return id(self.expand.inputs[0]), self.filter.stride, *acts

    @property
    def side(self) -> int:
        """Height and width of the filters."""
        assert self.filter.weight is not None
        return int(self.filter.weight.shape[2])


def for_dense_runtimes(graph: Graph) -> Graph:
    """Give a compacted graph the form that is written as ONNX: `select`, then `widen`."""
    return widen(select(graph))


def widen(graph: Graph, multiple: int = MULTIPLE) -> Graph:
    """Fill hidden channels up with zeros to a multiple.

    Args:
        graph (Graph): A compacted network; it is not changed.
        multiple (int): Of the hidden channels. Defaults to 16.

    Returns:
        Graph: A graph that computes the same.
    """
    graph = graph.copy()
    users = graph.users()
    done: set[int] = set()
    for node in graph.nodes():
        terms = node.inputs if node.op == 'add' else [node]
        groups: dict[tuple[object, ...], list[Chain]] = {}
        for term in terms:
            chain = None if id(term) in done else _chain(term, users)
            if chain and (term is node or len(users[id(term)]) == 1):
                groups.setdefault(chain.key, []).append(chain)
        if node.op != 'add' and any(user.op == 'add' for user in users[id(node)]):
            continue  # a term of a sum, which comes later
        for chains in groups.values():
            for part in _cheapest(chains, multiple):
                done |= {id(chain.project) for chain in part}
                new = _joined(part, multiple)
                done.add(id(new))
                if node.op == 'add':
                    old = {id(chain.project) for chain in part}
                    kept = [term for term in node.inputs if id(term) not in old]
                    node.inputs = [new, *kept]
                else:
                    graph.put(node, new)
    return graph


def _chain(project: Node, users: dict[int, list[Node]]) -> Chain | None:
    """The chain that ends with a node, if there is one."""

    def alone(node: Node) -> bool:
        return len(users.get(id(node), ())) == 1

    if not project.pointwise:
        return None
    node, acts = project.inputs[0], []
    found = []
    for wanted in ('depthwise', 'pointwise'):
        act = None
        if node.op == 'act' and alone(node):
            act, node = node, node.inputs[0]
        if node.op != 'conv' or not getattr(node, wanted) or not alone(node):
            return None
        acts.append(act)
        found.append(node)
        node = node.inputs[0]
    filters, expand = found
    assert filters.weight is not None
    height, width = filters.weight.shape[2:]
    centred = height == width and filters.padding == (height // 2,) * 4 and height % 2
    if not centred or filters.dilation != (1, 1) or height == 1:
        return None
    return Chain(expand, acts[1], filters, acts[0], project)


def _filled(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def _cheapest(chains: list[Chain], multiple: int) -> list[list[Chain]]:
    """The way to join chains that takes the fewest multiply-adds, zeros included."""

    def cost(parts: list[list[Chain]]) -> int:
        total = 0
        for part in parts:
            channels = _filled(sum(chain.filter.channels for chain in part), multiple)
            outer = part[0].expand.inputs[0].channels + part[0].project.channels
            total += channels * (max(chain.side for chain in part) ** 2 + outer)
        return total

    return min(_partitions(sorted(chains, key=lambda chain: chain.side)), key=cost)


def _partitions(chains: list[Chain]) -> Iterator[list[list[Chain]]]:
    """Every way to cut a list into runs; filters of like size stand side by side."""
    if not chains:
        yield []
    for count in range(1, len(chains) + 1):
        for rest in _partitions(chains[count:]):
            yield [chains[:count], *rest]


def _joined(chains: list[Chain], multiple: int) -> Node:
    """One chain for several, its channels filled up; returns its last convolution."""
    side = max(chain.side for chain in chains)
    channels = sum(chain.filter.channels for chain in chains)
    more = _filled(channels, multiple) - channels
    first, wide = chains[0], channels + more

    def fill(arrays: list[Array | None], axis: int) -> Array:
        parts = [array for array in arrays if array is not None]
        whole = np.concatenate(parts, axis)
        widths = [(0, more if i == axis else 0) for i in range(whole.ndim)]
        return np.pad(whole, widths)

    def centre(weight: Array | None) -> Array:
        assert weight is not None
        around = (side - weight.shape[2]) // 2
        return np.pad(weight, ((0, 0), (0, 0), (around, around), (around, around)))

    node = first.expand.copy(
        channels=wide,
        weight=fill([chain.expand.weight for chain in chains], 0),
        bias=fill([chain.expand.bias for chain in chains], 0),
    )
    if first.first is not None:
        node = first.first.copy(channels=wide, inputs=[node])
    node = first.filter.copy(
        channels=wide,
        groups=wide,
        inputs=[node],
        weight=fill([centre(chain.filter.weight) for chain in chains], 0),
        bias=fill([chain.filter.bias for chain in chains], 0),
        padding=(side // 2,) * 4,
    )
    if first.second is not None:
        node = first.second.copy(channels=wide, inputs=[node])
    bias = np.zeros(first.project.channels)
    for chain in chains:
        assert chain.project.bias is not None
        bias = bias + chain.project.bias
    weight = fill([chain.project.weight for chain in chains], 1)
    return first.project.copy(inputs=[node], weight=weight, bias=bias)
