"""A network in eval mode as a small graph: what every way out of the framework starts from.

Every value is a map of shape (channels, height, width) per picture. A vector is a map of 1 x 1,
tokens of D values are a map of 1 x D with one channel a token. Weights are float64 arrays.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from .sizes import PICTURE, Size, Step, after_window, then

Array = NDArray[np.float64]

# What a node can be. `inputs` are maps; the fields named are the ones that its kind reads.
OPS = {
    'input': 'the picture',
    'constant': 'value (C,) spread over size, or value (C, H, W)',
    'conv': 'weight (O, I / groups, h, w), bias (O,), stride, padding, dilation, groups',
    'act': 'kind, low, high; one of ACTIVATIONS, value by value',
    'add': 'the sum of its inputs, and bias (C,)',
    'mul': 'the product of two inputs, the second one maybe of size 1 x 1',
    'resize': 'kind nearest, bilinear or bilinear_corners, to size',
    'concat': 'its inputs, one after the other along the channels',
    'stuff': 'its input with stride - 1 zeros between its values',
    'slice': 'channels start to start + channels of its input',
    'pool': 'kind max or average, window, stride, padding, ceil, count_padding',
    'adaptive_pool': 'kind max or average, to size (fixed)',
    'tokens': 'map (L, H, W) as (L, 1, H * W), size (fixed)',
    'grid': 'map (L, 1, H * W) as (L, H, W), size (fixed)',
    'transpose': 'map (L, 1, D) as (D, 1, L), size (fixed)',
    'linear': 'weight (O, D) over the last axis, bias (O,)',
    'matmul': '(L, 1, D) times (D, 1, M)',
    'softmax': 'over the last axis',
    'norm': 'layer norm over the last axis: weight (D,), bias (D,), epsilon',
}
ACTIVATIONS = ('clip', 'hardsigmoid', 'hardswish', 'sigmoid', 'silu', 'gelu', 'leaky', 'tanh')
ALIGNED = (
    'act',
    'add',
    'mul',
    'resize',
    'pool',
    'adaptive_pool',
    'stuff',
)  # output channel c of inputs' c


@dataclass(eq=False)
class Node:
    """One value of the network and how it is computed; see ``OPS`` for what each kind reads."""

    op: str
    channels: int
    inputs: list['Node'] = field(default_factory=list)
    name: str = ''
    weight: Array | None = None
    bias: Array | None = None
    value: Array | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] | None = (0, 0, 0, 0)  # None: `same`, the rest at the end
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    kind: str = ''
    low: float = 0.0
    high: float = float('inf')
    window: tuple[int, int] = (1, 1)
    ceil: bool = False
    count_padding: bool = True
    size: Size | None = None
    start: int = 0
    epsilon: float = 0.0

    def copy(self, **changes: object) -> 'Node':
        """The node with other fields; lists of inputs are not shared."""
        changes.setdefault('inputs', list(self.inputs))
        return replace(self, **changes)  # type: ignore[arg-type]

    @property
    def depthwise(self) -> bool:
        """Whether this is a convolution of one filter per channel."""
        return (
            self.op == 'conv'
            and self.weight is not None
            and self.groups == self.channels == self.inputs[0].channels
            and self.weight.shape[1] == 1
        )

    @property
    def pointwise(self) -> bool:
        """Whether this is a dense 1x1 convolution of stride 1 without padding."""
        return (
            self.op == 'conv'
            and self.weight is not None
            and self.groups == 1
            and self.weight.shape[2:] == (1, 1)
            and self.stride == (1, 1)
            and self.padding in ((0, 0, 0, 0), None)
        )


@dataclass(eq=False)
class Graph:
    """A network: its picture, its outputs, and what stands between them.

    Attributes:
        picture (Node): The input, (C, H, W) per picture.
        outputs (list[Node]): What the network returns.
        ranks (list[int]): Axes of each output with its batch: 4 for maps, 3 for tokens (B, L, D), 2
            for vectors (B, C).
        image_size (tuple[int, int], optional): Height and width that it was traced for, where it
            takes no other. Defaults to None: any size.
        multiple (int): What number heights and widths must be multiples of. Defaults to 1.
    """

    picture: Node
    outputs: list[Node]
    ranks: list[int] = field(default_factory=list)
    image_size: tuple[int, int] | None = None
    multiple: int = 1

    def nodes(self) -> list[Node]:
        """What the outputs depend on, inputs before their users; the picture first."""
        order: list[Node] = [self.picture]
        seen = {id(self.picture)}
        stack: list[tuple[Node, Iterator[Node]]] = []
        for output in self.outputs:
            if id(output) in seen:
                continue
            seen.add(id(output))
            stack.append((output, iter(output.inputs)))
            while stack:
                node, rest = stack[-1]
                for before in rest:
                    if id(before) not in seen:
                        seen.add(id(before))
                        stack.append((before, iter(before.inputs)))
                        break
                else:
                    order.append(node)
                    stack.pop()
        return order

    def users(self) -> dict[int, list[Node]]:
        """The nodes that read each node, by ``id``; a network's output counts as read once."""
        users: dict[int, list[Node]] = {id(node): [] for node in self.nodes()}
        for node in self.nodes():
            for before in node.inputs:
                users[id(before)].append(node)
        for output in self.outputs:
            users[id(output)].append(output)
        return users

    def copy(self) -> 'Graph':
        """The same network in new nodes; arrays are shared, as nothing edits them in place."""
        new: dict[int, Node] = {}
        for node in self.nodes():
            new[id(node)] = node.copy(inputs=[new[id(before)] for before in node.inputs])
        outputs = [new[id(node)] for node in self.outputs]
        return replace(self, picture=new[id(self.picture)], outputs=outputs)

    def put(self, old: Node, new: Node) -> None:
        """Let everything that reads a node read another one."""
        for node in self.nodes():
            node.inputs = [
                new if before is old and node is not new else before for before in node.inputs
            ]
        self.outputs = [new if output is old else output for output in self.outputs]

    def sizes(self) -> dict[int, Size]:
        """The size of every node's map, by ``id``."""
        sizes: dict[int, Size] = {}
        for node in self.nodes():
            sizes[id(node)] = size_of(node, [sizes[id(before)] for before in node.inputs])
        return sizes


def size_of(node: Node, inputs: list[Size]) -> Size:
    """The size of a node's map, from those of its inputs."""
    if node.size is not None:
        return node.size
    if node.op == 'input':
        return PICTURE
    first = inputs[0]
    if node.op == 'conv':
        assert node.weight is not None
        kernel = node.weight.shape[2], node.weight.shape[3]
        return after_window(first, kernel, node.stride, node.padding, node.dilation)
    if node.op == 'pool':
        return after_window(first, node.window, node.stride, node.padding, ceil=node.ceil)
    if node.op == 'stuff':
        height, width = (
            then(then(rule, Step('times', by)), Step('window', -by))
            for rule, by in zip(first, node.stride, strict=True)
        )
        return height, width
    if node.op == 'linear':
        assert node.weight is not None
        return first[0], (Step('fixed', node.weight.shape[0]),)
    if node.op == 'matmul':
        return first[0], inputs[1][1]
    return first
