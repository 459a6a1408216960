"""The graph as a program of the engine: which maps are stored, and what is fused between them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..graph import Array, Graph, Node
from ..simplify import is_affine
from ..sizes import Size

ACTS = ('none', 'clip', 'hardsigmoid', 'hardswish', 'sigmoid', 'silu', 'gelu', 'leaky', 'tanh')
MODES = ('direct', 'nearest', 'bilinear', 'bilinear_corners')
FUSED = frozenset(('conv', 'add', 'act', 'resize', 'concat', 'slice'))  # what blocks are made of

Act = tuple[int, float, float]
NO_ACT: Act = (0, 0.0, 0.0)
Source = tuple[Node, str]  # a stored map, and how it is brought to size
Channel = tuple[Source, int]
Places = NDArray[np.int32]
Taps = tuple[Places, Array]  # (n, 3): what, which and where; (n,): weights


@dataclass
class Stage:
    """Rows, each a weighted sum of other rows."""

    taps: list[Taps] = field(default_factory=list)
    bias: list[float] = field(default_factory=list)
    acts: list[int] = field(default_factory=list)

    def add(self, taps: Taps, bias: float, act: int = 0) -> int:
        """Append a row; returns its number."""
        self.taps.append(taps)
        self.bias.append(bias)
        self.acts.append(act)
        return len(self.taps) - 1


def taps_of(what: object, which: object, where: object, weights: object) -> Taps:
    """Taps from arrays or numbers, spread to the length of the weights."""
    values = np.atleast_1d(np.asarray(weights, np.float64))
    columns = [np.broadcast_to(np.asarray(c, np.int32), values.shape) for c in (what, which, where)]
    return np.stack(columns, 1), values


def joined(parts: list[Taps]) -> Taps:
    """The taps of several parts as those of one row, sorted by what they read."""
    if not parts:
        return taps_of([], [], [], [])
    places, weights = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.argsort(places[:, 0], kind='stable')
    return places[order], weights[order]


@dataclass
class Block:
    """One fused operation: hidden rows, filters, and the rows of the output."""

    out: Node
    size: Size  # of the hidden rows
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    window: tuple[int, int] = (1, 1)
    accumulate: bool = False
    direct: bool = False
    acts: list[Act] = field(default_factory=lambda: [NO_ACT])
    pre_sources: list[Source] = field(default_factory=list)
    post_sources: list[Source] = field(default_factory=list)
    pre: Stage = field(default_factory=Stage)
    filter: Stage = field(default_factory=Stage)
    post: Stage = field(default_factory=Stage)
    copies: dict[Channel, int] = field(default_factory=dict)  # hidden rows that only copy

    def act(self, node: Node | None) -> int:
        """The number of an activation in the block's table."""
        act = act_of(node)
        if act not in self.acts[1:]:
            self.acts.append(act)
        return self.acts.index(act, 1)

    def source(self, sources: list[Source], source: Source) -> int:
        """The number of a source in one of the block's lists."""
        if source not in sources:
            sources.append(source)
        return sources.index(source)


@dataclass
class Step:
    """One operation of the program: a block, or a plain operation on stored maps."""

    out: Node
    inputs: list[Node]
    block: Block | None = None


@dataclass
class Spatial:
    """A filtering convolution among the terms of a sum, and the 1x1 convolution after it."""

    conv: Node
    act: Node | None
    project: Node | None


def act_of(node: Node | None) -> Act:
    """An activation as the engine knows it."""
    if node is None:
        return NO_ACT
    return ACTS.index(node.kind), float(node.low), float(node.high)


def to_program(graph: Graph) -> list[Step]:
    """Decide which maps are stored, and write how each of them is made.

    Args:
        graph (Graph): A compacted network.

    Returns:
        list[Step]: In order; a map may be made in several steps that add up.
    """
    maker = _Maker(graph)
    wanted = {id(output) for output in graph.outputs}
    steps: list[list[Step]] = []
    for node in reversed(graph.nodes()):
        if id(node) not in wanted or node.op == 'input':
            continue
        made = maker.make(node)
        wanted |= {id(before) for step in made for before in step.inputs}
        steps.append(made)
    return [step for made in reversed(steps) for step in made]


class _Maker:
    """Writes the steps that make one stored map."""

    def __init__(self, graph: Graph) -> None:
        self.users = graph.users()
        self.sizes = graph.sizes()

    def make(self, node: Node) -> list[Step]:
        """The steps that make a map."""
        if node.op not in FUSED:
            return [Step(node, list(node.inputs))]
        act, body = None, node
        if node.op == 'act':
            act, before = node, node.inputs[0]
            body = before if before.op in FUSED and self.alone(before) else node
        if body is node and act is not None:  # of a map that is stored
            terms: list[tuple[Node, int]] = [(node.inputs[0], 0)]
        elif body.op == 'add':
            terms = [(term, 0) for term in body.inputs]
        elif body.op == 'concat':
            starts = np.cumsum([0] + [part.channels for part in body.inputs])
            terms = [(part, int(start)) for part, start in zip(body.inputs, starts, strict=False)]
        else:
            terms = [(body, 0)]
        groups: dict[object, list[tuple[Spatial, int]]] = {}
        rest: list[tuple[Node, int]] = []
        for term, start in terms:
            spatial = self.spatial(term) if term is body or self.alone(term) else None
            if spatial:
                groups.setdefault(self.geometry(spatial.conv), []).append((spatial, start))
            else:
                rest.append((term, start))
        blocks: list[Block] = []
        bias = np.zeros(node.channels) if body.op != 'add' or body.bias is None else body.bias
        for spatials in groups.values():
            block = Block(node, self.sizes[id(spatials[0][0].conv.inputs[0])])
            self.filters(block, spatials, rest if not blocks else [], bias, body, len(groups))
            blocks.append(block)
            rest, bias = ([], 0 * bias)
        if not blocks:
            block = Block(node, self.sizes[id(node)])
            self.sums(block, rest, bias, body)
            blocks.append(block)
        for i, block in enumerate(blocks):
            block.accumulate = i > 0
        blocks[-1].acts[0] = act_of(act)
        return [
            Step(node, [s[0] for s in (*block.pre_sources, *block.post_sources)], block)
            for block in blocks
        ]

    def alone(self, node: Node) -> bool:
        """Whether a node is read once."""
        return len(self.users[id(node)]) == 1

    def geometry(self, conv: Node) -> object:
        """What filters must have in common to share a block."""
        assert conv.weight is not None
        kernel = conv.weight.shape[2:] if conv.padding is None else None
        return self.sizes[id(conv.inputs[0])], conv.stride, kernel

    def spatial(self, term: Node) -> Spatial | None:
        """A term as a filter and what is around it; None where it has none."""
        if term.op != 'conv':
            return None
        if not (term.pointwise or is_affine(term)):
            return Spatial(term, None, None)
        if not term.pointwise:
            return None
        before, act = term.inputs[0], None
        if before.op == 'act' and self.alone(before):
            before, act = before.inputs[0], before
        if before.op != 'conv' or not self.alone(before) or before.pointwise or is_affine(before):
            return None
        return Spatial(before, act, term)

    def channels(self, node: Node) -> list[Channel]:
        """Where each channel of a map comes from; resizes and concatenations are not stored."""
        if node.op == 'concat':
            return [channel for part in node.inputs for channel in self.channels(part)]
        if node.op == 'slice':
            return self.channels(node.inputs[0])[node.start : node.start + node.channels]
        if node.op == 'resize':
            return [((node.inputs[0], node.kind), c) for c in range(node.channels)]
        return [((node, 'direct'), c) for c in range(node.channels)]

    def filters(
        self,
        block: Block,
        spatials: list[tuple[Spatial, int]],
        rest: list[tuple[Node, int]],
        bias: Array,
        body: Node,
        groups: int,
    ) -> None:
        """Write a block with filters."""
        convs = [spatial.conv for spatial, _ in spatials]
        block.stride = convs[0].stride
        same = convs[0].padding is None
        tops = [0 if conv.padding is None else conv.padding[0] for conv in convs]
        lefts = [0 if conv.padding is None else conv.padding[1] for conv in convs]
        block.pad = (-1, -1) if same else (max(tops), max(lefts))
        block.direct = (
            groups == len(spatials) == 1
            and not rest
            and not bias.any()
            and spatials[0][0].project is None
        )
        rows: list[list[Taps]] = [[] for _ in range(block.out.channels)]
        bias = bias.copy()
        for (spatial, start), top, left in zip(spatials, tops, lefts, strict=True):
            shift = (0, 0) if same else (block.pad[0] - top, block.pad[1] - left)
            made = self.filter_rows(block, spatial, shift)
            if block.direct:
                return
            if spatial.project is None:
                for c, row in enumerate(made):
                    rows[start + c].append(taps_of(0, row, 0, 1.0))
                continue
            assert spatial.project.weight is not None
            assert spatial.project.bias is not None
            bias[start : start + spatial.project.channels] += spatial.project.bias
            weight = spatial.project.weight[:, :, 0, 0]
            for o, row in enumerate(weight):
                read = np.nonzero(row)[0]
                rows[start + o].append(taps_of(0, made[read], 0, row[read]))
        self.sums(block, rest, bias, body, rows)

    def filter_rows(self, block: Block, spatial: Spatial, shift: tuple[int, int]) -> Places:
        """Write a convolution's filters, and the hidden rows that they read."""
        conv = spatial.conv
        assert conv.weight is not None
        assert conv.bias is not None
        before, act = conv.inputs[0], None
        if before.op == 'act' and self.alone(before) and self.alone(before.inputs[0]):
            act, before = before, before.inputs[0]
        expand = before if before.pointwise and self.alone(before) else None
        counts = (conv.weight != 0).sum((1, 2, 3))
        used = (conv.weight != 0).any((2, 3))  # (O, I / groups)
        if conv.groups == 1:
            read = used.any(0)
        else:
            read = used.reshape(conv.groups, -1, used.shape[1]).any(1).ravel()
        if expand is not None:
            hidden = self.expanded(block, expand, act, read)
            if conv.depthwise:
                assert expand.weight is not None
                counts = counts + 10**4 * (expand.weight != 0).sum((1, 2, 3))
        else:
            hidden = self.copied(block, conv.inputs[0], read)
        outputs, inputs = conv.channels // conv.groups, conv.weight.shape[1]
        made = np.zeros(conv.channels, np.int32)
        # rows of like length together: branches are guessed better
        order = np.arange(conv.channels) if block.direct else np.argsort(counts, kind='stable')
        for o in order:
            weight = conv.weight[o]
            i, dy, dx = np.nonzero(weight)
            y, x = dy * conv.dilation[0] + shift[0], dx * conv.dilation[1] + shift[1]
            taps = taps_of(hidden[(o // outputs) * inputs + i], y, x, weight[i, dy, dx])
            reach = int(y.max(initial=0)) + 1, int(x.max(initial=0)) + 1
            block.window = max(block.window[0], reach[0]), max(block.window[1], reach[1])
            made[o] = block.filter.add(taps, float(conv.bias[o]), block.act(spatial.act))
        if conv.padding is None:  # the zeros follow from the window
            kernel = conv.weight.shape[2:]
            spans = [d * (k - 1) + 1 for d, k in zip(conv.dilation, kernel, strict=True)]
            block.window = (spans[0], spans[1])
        return made

    def expanded(
        self, block: Block, expand: Node, act: Node | None, read: NDArray[np.bool_]
    ) -> Places:
        """Write the rows of a 1x1 convolution that are read; returns their numbers."""
        assert expand.weight is not None
        assert expand.bias is not None
        what, which = self.places(block.pre_sources, block, expand.inputs[0])
        numbers = np.full(expand.channels, -1, np.int32)
        table = block.act(act)
        order = np.argsort((expand.weight != 0).sum((1, 2, 3)), kind='stable')
        for c in order[read[order]]:
            row = expand.weight[c, :, 0, 0]
            i = np.nonzero(row)[0]
            taps = taps_of(what[i], which[i], 0, row[i])
            numbers[c] = block.pre.add(taps, float(expand.bias[c]), table)
        return numbers

    def copied(self, block: Block, before: Node, read: NDArray[np.bool_]) -> Places:
        """Write copies of the channels of a map that are read; returns their numbers."""
        numbers = np.full(before.channels, -1, np.int32)
        for c, channel in enumerate(self.channels(before)):
            if not read[c]:
                continue
            if channel not in block.copies:
                source = block.source(block.pre_sources, channel[0])
                taps = taps_of(source, channel[1], 0, 1.0)
                block.copies[channel] = block.pre.add(taps, 0.0, block.act(None))
            numbers[c] = block.copies[channel]
        return numbers

    def places(self, sources: list[Source], block: Block, node: Node) -> tuple[Places, Places]:
        """Source and channel of each channel of a map, as arrays."""
        channels = self.channels(node)
        what = [block.source(sources, channel[0]) for channel in channels]
        return np.array(what, np.int32), np.array([c[1] for c in channels], np.int32)

    def sums(
        self,
        block: Block,
        terms: list[tuple[Node, int]],
        bias: Array,
        body: Node,
        rows: list[list[Taps]] | None = None,
    ) -> None:
        """Write the rows of the output: what was filtered, and terms without filters."""
        rows = rows or [[] for _ in range(block.out.channels)]
        bias = bias.copy()
        for term, start in terms:
            inner = term is body or self.alone(term)
            if not (inner and (term.pointwise or is_affine(term))):
                what, which = self.places(block.post_sources, block, term)
                for c in range(term.channels):
                    rows[start + c].append(taps_of(1 + what[c], which[c], 0, 1.0))
                continue
            assert term.weight is not None
            assert term.bias is not None
            what, which = self.places(block.post_sources, block, term.inputs[0])
            bias[start : start + term.channels] += term.bias
            for o, row in enumerate(term.weight[:, :, 0, 0]):
                i = np.nonzero(row)[0] if term.pointwise else np.array([o])
                weights = row[i] if term.pointwise else row
                rows[start + o].append(taps_of(1 + what[i], which[i], 0, weights))
        for o, parts in enumerate(rows):
            block.post.add(joined(parts), float(bias[o]))
