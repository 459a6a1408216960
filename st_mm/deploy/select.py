"""Only channels that are read are resized: what dense runtimes cannot leave out by themselves.

Maps that are added have one set of channels, so that the last sum of a branch may keep channels
that nothing after it reads. The engine skips them row by row; in ONNX they would be resized and
joined.
"""

import numpy as np
from numpy.typing import NDArray

from .graph import Graph, Node


def select(graph: Graph) -> Graph:
    """Pick the channels that 1x1 convolutions read before a resize, not after it.

    Args:
        graph (Graph): A compacted network; it is not changed.

    Returns:
        Graph: A graph that computes the same.
    """
    graph = graph.copy()
    users = graph.users()
    outputs = {id(output) for output in graph.outputs}
    for node in graph.nodes():
        readers = users[id(node)]
        if node.op not in ('concat', 'resize') or id(node) in outputs:
            continue
        if not readers or not all(reader.pointwise for reader in readers):
            continue
        read = np.zeros(node.channels, bool)
        for reader in readers:
            assert reader.weight is not None
            read |= (reader.weight != 0).any((0, 2, 3))
        parts = node.inputs if node.op == 'concat' else [node]
        kept: list[Node] = []
        keep = np.ones(node.channels, bool)
        start = 0
        for part in parts:
            mine = slice(start, start + part.channels)
            start += part.channels
            alone = part is node or len(users[id(part)]) == 1
            if part.op != 'resize' or not alone or read[mine].all():
                kept.append(part)
                continue
            keep[mine] = read[mine]
            if read[mine].any():
                kept.append(_resized(part, np.nonzero(read[mine])[0]))
        if keep.all() or not kept:
            continue
        new = kept[0]
        if len(kept) > 1:
            new = node.copy(inputs=kept, channels=int(keep.sum()))
        for reader in readers:
            assert reader.weight is not None
            reader.inputs = [new]
            reader.weight = reader.weight[:, keep]
    return graph


def _resized(resize: Node, chosen: NDArray[np.intp]) -> Node:
    """Some channels of a map, resized."""
    before, count = resize.inputs[0], len(chosen)
    weight = np.zeros((count, before.channels, 1, 1))
    weight[np.arange(count), chosen] = 1
    picked = Node('conv', count, [before], resize.name, weight=weight, bias=np.zeros(count))
    return resize.copy(inputs=[picked], channels=count)
