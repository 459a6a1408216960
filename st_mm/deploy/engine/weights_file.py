"""A program of the engine as bytes: a header with version and checksum, then numbers."""

import json
import struct
import zlib
from typing import Any

import numpy as np

from ..graph import Graph, Node
from ..sizes import Rule
from .program import MODES, Block, Stage, Step, to_program

MAGIC = b'STMMTKT\0'
VERSION = 1  # of the layout; st_engine.c knows the same
STEP_KINDS = ('fixed', 'times', 'window', 'window_up')
# operations, numbered from 1 on
KINDS = (
    *('block', 'pool', 'mul', 'matmul', 'linear', 'softmax', 'norm', 'reshape', 'transpose'),
    *('constant', 'stuff'),
)


def to_bytes(graph: Graph, metadata: dict[str, Any] | None = None) -> bytes:
    """Write a graph as a weights file of the engine.

    Args:
        graph (Graph): A compacted network.
        metadata (dict, optional): Plain values for who runs it. ``mean`` and ``std`` (by channel
            of the network) and ``channel_order`` ('rgb' or 'bgr') are read by the engine too, the
            rest is kept as JSON. Defaults to None.

    Returns:
        bytes: The file.
    """
    metadata = metadata or {}
    payload = _Payload(graph, metadata).data
    header = MAGIC + struct.pack('<IIQQ', VERSION, zlib.crc32(payload), len(payload), 0)
    return header + payload


class _Payload:
    """Collects the numbers of the file."""

    def __init__(self, graph: Graph, metadata: dict[str, Any]) -> None:
        self.parts: list[bytes] = []
        self.sizes = graph.sizes()
        steps = to_program(graph)
        maps: dict[int, Node] = {id(graph.picture): graph.picture}
        for step in steps:
            maps.setdefault(id(step.out), step.out)
        self.number_of = {key: number for number, key in enumerate(maps)}
        self.rules: dict[Rule, int] = {}
        for node in maps.values():
            self.rule_numbers(self.sizes[id(node)])
        for step in steps:
            if step.block:
                self.rule_numbers(step.block.size)

        channels = graph.picture.channels
        size = graph.image_size or (0, 0)
        swap = metadata.get('channel_order', 'rgb') == 'bgr'
        self.ints(channels, *size, graph.multiple, int(swap))
        for name, default in (('mean', 0.0), ('std', 1.0)):
            values = np.broadcast_to(metadata.get(name) or default, channels)
            self.floats(values)
        self.ints(len(self.rules))
        for rule in self.rules:
            self.ints(len(rule))
            for kind, value, stride in rule:
                self.ints(STEP_KINDS.index(kind), value, stride)
        self.ints(len(maps))
        for node in maps.values():
            self.ints(node.channels, *self.rule_numbers(self.sizes[id(node)]))
        self.ints(len(steps))
        for step in steps:
            self.step(step)
        self.ints(len(graph.outputs), *(self.number_of[id(node)] for node in graph.outputs))
        text = json.dumps(dict(metadata, ranks=graph.ranks)).encode()
        self.ints(len(text))
        self.data = b''.join(self.parts) + text

    def ints(self, *values: int) -> None:
        """Append whole numbers."""
        self.parts.append(np.array(values, '<i4').tobytes())

    def floats(self, values: Any) -> None:
        """Append numbers in float32."""
        self.parts.append(np.asarray(values).astype('<f4').tobytes())

    def rule_numbers(self, size: tuple[Rule, Rule]) -> tuple[int, int]:
        """The numbers of a size's two rules."""
        height, width = (self.rules.setdefault(rule, len(self.rules)) for rule in size)
        return height, width

    def step(self, step: Step) -> None:
        """Append one operation."""
        node = step.out
        inputs = [self.number_of[id(before)] for before in step.inputs]
        if step.block:
            self.ints(KINDS.index('block') + 1, self.number_of[id(node)], 0, 0)
            self.block(step.block)
            return
        kind = dict(adaptive_pool='pool', tokens='reshape', grid='reshape').get(node.op, node.op)
        first = inputs[0] if inputs else 0
        second = inputs[1] if len(inputs) > 1 else 0
        self.ints(KINDS.index(kind) + 1, self.number_of[id(node)], first, second)
        flags, numbers = _plain(node)
        self.ints(*flags, *[0] * (8 - len(flags)), numbers.size)
        self.floats(numbers)

    def block(self, block: Block) -> None:
        """Append what a block is made of."""
        rules = self.rule_numbers(block.size)
        self.ints(int(block.accumulate), int(block.direct))
        for axis in (0, 1):
            self.ints(rules[axis], block.stride[axis], block.pad[axis], block.window[axis])
        self.ints(len(block.acts))
        for kind, low, high in block.acts:
            self.ints(kind)
            self.floats([low, high])
        picked: list[int] = []
        pre, pre_stage = self.sources(block.pre_sources, block.pre, 0, picked)
        post, post_stage = self.sources(block.post_sources, block.post, 1, picked)
        self.ints(len(picked), *picked, len(block.pre_sources), len(block.post_sources))
        self.ints(*pre, *post)
        for stage in (pre_stage, block.filter, post_stage):
            self.stage(stage)

    def sources(
        self, sources: list[tuple[Node, str]], stage: Stage, base: int, picked: list[int]
    ) -> tuple[list[int], Stage]:
        """Number the channels that are read of resized sources; only they are resized."""
        flat: list[int] = []
        places = np.concatenate([taps[0] for taps in stage.taps] or [np.zeros((0, 3), np.int32)])
        places = places.copy()
        for number, (node, kind) in enumerate(sources):
            mine = places[:, 0] == number + base
            used = np.zeros(0, np.int64)
            if kind != 'direct':
                used, places[mine, 1] = np.unique(places[mine, 1], return_inverse=True)
            flat += [self.number_of[id(node)], MODES.index(kind), len(picked), len(used)]
            picked += used.tolist()
        ends = np.cumsum([len(taps[1]) for taps in stage.taps])[:-1]
        parts = np.split(places, ends) if stage.taps else []
        taps = [(new, old[1]) for new, old in zip(parts, stage.taps, strict=True)]
        return flat, Stage(taps, stage.bias, stage.acts)

    def stage(self, stage: Stage) -> None:
        """Append rows and their taps."""
        starts = np.cumsum([0] + [len(taps[1]) for taps in stage.taps])
        self.ints(len(stage.taps), *starts.tolist())
        nothing = np.zeros((0, 3), np.int32), np.zeros(0)
        places, weights = (np.concatenate(a) for a in zip(*(stage.taps or [nothing]), strict=True))
        self.parts.append(np.ascontiguousarray(places.T).astype('<i4').tobytes())
        self.floats(weights)
        self.floats(stage.bias)
        self.ints(*stage.acts)


def _plain(node: Node) -> tuple[list[int], Any]:
    """The flags and numbers of an operation that is not a block."""
    nothing = np.zeros(0)
    if node.op == 'pool':
        assert node.padding is not None
        flags = [node.kind == 'max', 0, *node.window, *node.stride, *node.padding[:2]]
        return [int(flag) for flag in flags], np.array([float(node.count_padding)])
    if node.op == 'adaptive_pool':
        return [int(node.kind == 'max'), 1], np.zeros(1)
    if node.op == 'constant':
        assert node.value is not None
        return [int(node.value.ndim == 3)], node.value.ravel()
    if node.op == 'linear':
        assert node.weight is not None
        assert node.bias is not None
        return [], np.concatenate([node.weight.ravel(), node.bias])
    if node.op == 'norm':
        assert node.weight is not None
        assert node.bias is not None
        return [], np.concatenate([node.weight, node.bias, [node.epsilon]])
    if node.op == 'stuff':
        return list(node.stride), nothing
    return [], nothing
