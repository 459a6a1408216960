"""The graph in its plain form: batch norms folded, work that appears twice done once.

Every step keeps what the network computes; only the order of rounding changes. In plain form,

- a convolution has its batch norm in its weights, as far as they stand side by side;
- the kernels of a mixed block are chains of their own (expand, depthwise, project) in one sum;
- a sum has no sums among its terms, a resize changes the size.
"""

import numpy as np

from .graph import Array, Graph, Node

ZEROS = (0, 0, 0, 0)


def simplify(graph: Graph) -> Graph:
    """Bring a graph into its plain form.

    Args:
        graph (Graph): A network as traced; it is not changed.

    Returns:
        Graph: A new graph that computes the same.
    """
    graph = graph.copy()
    steps = (
        _drop_idle,
        _lift_slices,
        _lower_into_concat,
        _fold_affine,
        _split_concat,
        _flatten_sums,
    )
    changed = True
    while changed:
        changed = False
        for step in steps:
            changed = step(graph) or changed
    return graph


def is_affine(node: Node) -> bool:
    """Whether a node scales and shifts each channel, and does nothing else."""
    return (
        node.depthwise
        and node.weight is not None
        and node.weight.shape[2:] == (1, 1)
        and node.stride == (1, 1)
        and node.padding in (ZEROS, None)
    )


def scale_of(node: Node) -> tuple[Array, Array]:
    """Scale and shift of an affine node, (C,) each."""
    assert node.weight is not None
    assert node.bias is not None
    return node.weight[:, 0, 0, 0], node.bias


def _drop_idle(graph: Graph) -> bool:
    """Take out resizes to the same size, slices of everything, and sums of one term."""
    sizes, changed = graph.sizes(), False
    for node in graph.nodes():
        idle = (
            (node.op == 'resize' and sizes[id(node)] == sizes[id(node.inputs[0])])
            or (node.op == 'slice' and node.channels == node.inputs[0].channels)
            or (node.op == 'concat' and len(node.inputs) == 1)
            or (node.op == 'add' and len(node.inputs) == 1 and node.bias is None)
            or (node.op == 'act' and _same_clip(node))
        )
        if idle:
            graph.put(node, node.inputs[0])
            changed = True
    return changed


def _same_clip(node: Node) -> bool:
    """Whether an activation cuts off only what its input has cut off already."""
    before = node.inputs[0]
    return (
        node.kind == 'clip'
        and before.op == 'act'
        and before.kind == 'clip'
        and node.low <= before.low
        and node.high >= before.high
    )


def _lift_slices(graph: Graph) -> bool:
    """Cut channels before an activation or a convolution rather than after it."""
    changed = False
    for node in graph.nodes():
        if node.op != 'slice':
            continue
        before, cut = node.inputs[0], slice(node.start, node.start + node.channels)
        if before.op == 'slice':
            new = node.copy(inputs=before.inputs, start=node.start + before.start)
        elif before.op == 'act':
            inner = node.copy(inputs=before.inputs)
            new = before.copy(inputs=[inner], channels=node.channels)
        elif before.op == 'conv' and (before.depthwise or before.groups == 1):
            assert before.weight is not None
            assert before.bias is not None
            new = before.copy(
                channels=node.channels, weight=before.weight[cut], bias=before.bias[cut]
            )
            if before.depthwise:
                new.groups = node.channels
                new.inputs = [node.copy(inputs=before.inputs)]
        else:
            continue
        graph.put(node, new)
        changed = True
    return changed


def _lower_into_concat(graph: Graph) -> bool:
    """Apply what works channel by channel to the parts of a concatenation of its own."""
    users, changed = graph.users(), False
    for node in graph.nodes():
        if not (node.op == 'act' or is_affine(node)):
            continue
        joined = node.inputs[0]
        if joined.op != 'concat' or len(users[id(joined)]) != 1:
            continue
        parts, start = [], 0
        for part in joined.inputs:
            end = start + part.channels
            new = node.copy(inputs=[part], channels=part.channels)
            if node.op == 'conv':
                assert node.weight is not None
                assert node.bias is not None
                new.weight, new.bias = node.weight[start:end], node.bias[start:end]
                new.groups = part.channels
            parts.append(new)
            start = end
        graph.put(node, joined.copy(inputs=parts))
        return True  # users have changed
    return changed


def _fold_affine(graph: Graph) -> bool:
    """Multiply scales and shifts into the convolution before or after them."""
    users, changed = graph.users(), False
    for node in graph.nodes():
        if node.op != 'conv' or not node.inputs:
            continue
        before = node.inputs[0]
        if before.op != 'conv' or len(users[id(before)]) != 1:
            continue
        assert node.weight is not None
        assert node.bias is not None
        assert before.weight is not None
        assert before.bias is not None
        if is_affine(node):
            scale, shift = scale_of(node)
            new = before.copy(
                weight=before.weight * scale[:, None, None, None],
                bias=before.bias * scale + shift,
                name=node.name if is_affine(before) else before.name,
            )
        elif is_affine(before) and node.groups in (1, node.inputs[0].channels):
            scale, shift = scale_of(before)
            if node.padding != ZEROS and shift.any():
                continue  # the zeros around a map are not shifted
            share = node.weight.sum((2, 3))  # (O, I / groups)
            if node.groups == 1:
                weight, bias = node.weight * scale[None, :, None, None], share @ shift
            else:
                per_output = np.repeat(scale, node.channels // node.groups)
                weight = node.weight * per_output[:, None, None, None]
                bias = share[:, 0] * np.repeat(shift, node.channels // node.groups)
            new = node.copy(inputs=before.inputs, weight=weight, bias=node.bias + bias)
        else:
            continue
        graph.put(node, new)
        users = graph.users()
        changed = True
    return changed


def _split_concat(graph: Graph) -> bool:
    """Turn a convolution of joined hidden channels into a sum of convolutions, one per part."""
    users, changed = graph.users(), False
    for node in graph.nodes():
        if not node.pointwise:
            continue
        joined = node.inputs[0]
        if joined.op != 'concat' or len(users[id(joined)]) != 1:
            continue
        if not all(_hidden(part) for part in joined.inputs):
            continue
        assert node.weight is not None
        assert node.bias is not None
        terms, start = [], 0
        for part in joined.inputs:
            end = start + part.channels
            bias = node.bias if not start else 0 * node.bias
            terms.append(node.copy(inputs=[part], weight=node.weight[:, start:end], bias=bias))
            start = end
        graph.put(node, Node('add', node.channels, terms, node.name))
        changed = True
    return changed


def _hidden(node: Node) -> bool:
    """Whether a map is what a convolution has just made, perhaps through an activation."""
    before = node.inputs[0] if node.op == 'act' else node
    return before.op == 'conv' and not is_affine(before)


def _flatten_sums(graph: Graph) -> bool:
    """Write a sum of sums as one sum."""
    users, changed = graph.users(), False
    for node in graph.nodes():
        if node.op != 'add':
            continue
        terms: list[Node] = []
        bias = node.bias
        for term in node.inputs:
            if term.op == 'add' and len(users[id(term)]) == 1:
                terms += term.inputs
                if term.bias is not None:
                    bias = term.bias if bias is None else bias + term.bias
                changed = True
            else:
                terms.append(term)
        node.inputs, node.bias = terms, bias
    return changed
