"""What comes before and after a network, as parts of its ONNX model: pixels in, answers out."""

import json
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
INNER = 'normalized'  # what the network itself reads
ANSWERS = dict(segmentation='labels', pose='keypoints', classification='probabilities')


def make_whole(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put normalization in front of a network and the decoding of its task after it.

    Args:
        model (onnx.ModelProto): What ``to_onnx`` has written with the facts of its metadata; it is
            not changed.

    Returns:
        onnx.ModelProto: Input ``pictures`` (B, H, W, 3), RGB in uint8, of any size. Output by task:
        ``labels`` (B, H, W), the class of each pixel in int32; ``keypoints`` (B, K, 3), x and y in
        pixels of the picture, at the centre of the largest value of each heatmap, and that value;
        ``probabilities`` (B, classes).

    Raises:
        ValueError: If the task has no decoding, or the network not just one output for it.
    """
    facts = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    task = facts.get('task')
    if task not in ANSWERS or len(model.graph.output) != 1:
        raise ValueError(
            f'there is no decoding for {len(model.graph.output)} outputs of the task {task!r}; '
            f'there is one for a single output of {", ".join(ANSWERS)}'
        )
    channels, *fixed = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    if channels != 3:
        raise ValueError(f'the network takes {channels} channels, not a colour picture')
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    for node in whole.graph.node:
        for i, name in enumerate(node.input):
            if name == 'pictures':
                node.input[i] = INNER
    writer = _Writer(whole)
    writer.before(facts, fixed if all(fixed) else None)
    answer = writer.after(task, model.graph.output[0].name)
    del whole.graph.input[:], whole.graph.output[:]
    shape = ['batch', 'height', 'width', 3]
    whole.graph.input.append(helper.make_tensor_value_info('pictures', TensorProto.UINT8, shape))
    whole.graph.output.append(answer)
    entry = whole.metadata_props.add()
    entry.key, entry.value = 'whole', 'true'
    onnx.checker.check_model(whole, full_check=True)
    return whole


class _Writer:
    """Adds nodes in front of a model and after it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.nodes: list[onnx.NodeProto] = []
        self.count = 0

    def emit(self, op: str, *inputs: str, name: str = '', **attributes: Any) -> str:
        """Add a node of one output; returns the output's name."""
        self.count += 1
        name = name or f'whole_{self.count}'
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, values: Any, dtype: type = np.int64) -> str:
        """Add a constant."""
        self.count += 1
        name = f'whole_{self.count}'
        self.graph.initializer.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def cast(self, x: str, kind: int, name: str = '') -> str:
        """Change the type of numbers."""
        return self.emit('Cast', x, name=name, to=kind)

    def resize(self, x: str, size: str) -> str:
        """Resize maps bilinearly, corners not aligned."""
        modes = dict(mode='linear', coordinate_transformation_mode='half_pixel')
        return self.emit('Resize', x, '', '', size, axes=[2, 3], **modes)

    def before(self, facts: dict[str, Any], fixed: list[int] | None) -> None:
        """From (B, H, W, 3) in uint8 to what the network reads."""
        x = self.emit('Transpose', 'pictures', perm=[0, 3, 1, 2])
        if facts.get('channel_order') == 'bgr':
            x = self.emit('Gather', x, self.constant([2, 1, 0]), axis=1)
        x = self.cast(x, FLOAT)
        multiple = facts.get('multiple', 1)
        if fixed or facts['task'] != 'segmentation':
            x = self.resize(x, self.constant(fixed or facts['size']))
        elif multiple > 1:  # the next size that it takes
            by = self.constant([multiple])
            size = self.emit('Shape', 'pictures', start=1, end=3)
            up = self.emit('Add', size, self.constant([multiple - 1]))
            x = self.resize(x, self.emit('Mul', self.emit('Div', up, by), by))
        mean, std = (
            self.constant(np.broadcast_to(facts.get(key, fill), 3)[:, None, None], np.float32)
            for key, fill in (('mean', 0.0), ('std', 1.0))
        )
        self.emit('Div', self.emit('Sub', x, mean), std, name=INNER)
        nodes = [*self.nodes, *self.graph.node]
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        self.nodes = []

    def after(self, task: str, output: str) -> onnx.ValueInfoProto:
        """From what the network gives to the answer of its task."""
        name, kind = ANSWERS[task], FLOAT
        shape: list[str | int | None] = ['batch', None]
        if task == 'segmentation':
            maps = self.resize(output, self.emit('Shape', 'pictures', start=1, end=3))
            labels = self.emit('ArgMax', maps, axis=1, keepdims=0)
            kind, shape = TensorProto.INT32, ['batch', 'height', 'width']
            self.cast(labels, kind, name)
        elif task == 'pose':
            self.keypoints(output, name)
            shape = ['batch', None, 3]
        else:
            self.emit('Softmax', output, axis=-1, name=name)
        self.graph.node.extend(self.nodes)
        return helper.make_tensor_value_info(name, kind, shape)

    def keypoints(self, heatmaps: str, name: str) -> None:
        """Find the largest value of each heatmap (B, K, h, w), as (B, K, 3)."""
        flat = self.emit('Reshape', heatmaps, self.constant([0, 0, -1]))
        place = self.emit('ArgMax', flat, axis=2, keepdims=1)  # (B, K, 1)
        width = self.emit('Shape', heatmaps, start=3, end=4)
        row = self.emit('Div', place, width)
        column = self.emit('Sub', place, self.emit('Mul', row, width))
        half = self.constant(0.5, np.float32)
        found = []
        for at, axis in ((column, 1), (row, 0)):
            length = self.cast(self.emit('Shape', heatmaps, start=2 + axis, end=3 + axis), FLOAT)
            side = self.cast(self.emit('Shape', 'pictures', start=1 + axis, end=2 + axis), FLOAT)
            centre = self.emit('Add', self.cast(at, FLOAT), half)
            found.append(self.emit('Div', self.emit('Mul', centre, side), length))
        score = self.emit('ReduceMax', flat, self.constant([2]), keepdims=1)
        self.emit('Concat', *found, score, axis=2, name=name)
