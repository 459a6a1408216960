"""From an mm model to the graph: run it once on a small picture and write down what it computes."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from . import trace_arithmetic, trace_moves, trace_ops, trace_sizes  # noqa: F401  # have handlers
from .execute import execute
from .graph import Graph, Node, size_of
from .sizes import Rule, Size, apply, fixed, scaled

# Two sizes of picture to trace, one to check on (heights, widths), and of what number all of them
# are multiples. In the first, every stride of 2 finds an odd length, so that what only odd sizes
# need is seen; the others are for networks that do not take these.
TRIALS = (
    (((65, 97), (129, 65), (76, 90)), 1),
    (((64, 96), (128, 64), (96, 160)), 32),
    (((401, 417), (433, 401), (410, 424)), 1),
)
NAME_IT = 'If it takes one size only, name it (image_size, --size)'
TOLERANCE = 1e-8  # of the largest output; both sides compute in float64


class TraceError(ValueError):
    """A network that cannot become a graph; the message names the layer and the reason."""


def trace(model: nn.Module, image_size: tuple[int, int] | None = None) -> Graph:
    """Turn a model into a graph, and check that both compute the same.

    Args:
        model (nn.Module): An mm model (run with ``mode='tensor'``) or any module that takes one
            batch of pictures. It is copied, and not changed.
        image_size (tuple[int, int], optional): Height and width, for a network that takes only
            this one, or for a graph of just this size. Defaults to None: the graph takes any size.

    Returns:
        Graph: In float64, batch norms still apart; see :func:`~st_mm.deploy.simplify.simplify`.

    Raises:
        TraceError: If a layer does what the graph has no node for, if weights are not finite, or
            if the graph and the model differ on a checked picture.
    """
    check_finite(model)
    model = copy.deepcopy(model).double().eval()
    if image_size:
        return replace(_trace(model, (image_size,) * 3), image_size=image_size)
    refused: list[TraceError] = []
    for sizes, multiple in TRIALS:
        try:
            return replace(_trace(model, sizes), multiple=multiple)
        except SizeError as error:
            refused.append(error)
    raise refused[0]


def _trace(model: nn.Module, sizes: tuple[tuple[int, int], ...]) -> Graph:
    """Trace two sizes and check a third one."""
    first, second = (_record(model, size) for size in sizes[:2])
    graph = _merge(first, second, (sizes[0], sizes[1]))
    _check(graph, model, sizes[2])
    return graph


def check_finite(model: nn.Module) -> None:
    """Refuse weights that are not numbers.

    Raises:
        TraceError: Naming the first one.
    """
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise TraceError(f'{name} has values that are not finite: the checkpoint is damaged')


class SizeError(TraceError):
    """A network that does not take the sizes that were tried."""


class Recorder(TorchFunctionMode):
    """Writes down every torch function that is given something computed from the picture.

    Attributes:
        nodes (list[Node]): What was computed, in order.
        shapes (dict[int, tuple[int, ...]]): (channels, height, width) of each node, by ``id``.
        targets (dict[int, tuple[int, int]]): Height and width that a node was asked for.
    """

    def __init__(self, picture: Tensor) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.shapes: dict[int, tuple[int, int, int]] = {}
        self.targets: dict[int, tuple[int, int]] = {}
        self.layers: list[str] = []
        self._node_of: dict[int, Node] = {}
        self._alive: list[Tensor] = []  # an id is only as good as its tensor's life
        self.picture = self.add('input', picture, channels=picture.shape[1])
        self.know(picture, self.picture)

    @property
    def layer(self) -> str:
        """Name of the module that runs."""
        return self.layers[-1] if self.layers else 'model'

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Compute, and write down what depends on the picture."""
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        traced = [t for t in tensors_in((args, kwargs)) if self.knows(t)]
        produced = list(tensors_in(result))
        if not traced or not produced:
            return result
        name = trace_ops.plain_name(function)
        if name in trace_ops.FACTORIES:
            return result
        handler = trace_ops.HANDLERS.get(name)
        if handler is None:
            raise TraceError(
                f"{self.layer}: the graph has no node for the function '{name}'. Take the layer "
                'out of the network, or add a handler to st_mm/deploy/trace_*.py'
            )
        try:
            handler(self, result, *args, **kwargs)
        except trace_ops.Unsupported as error:
            raise TraceError(f"{self.layer}: '{name}' {error}") from error
        return result

    def knows(self, tensor: Any) -> bool:
        """Whether a value depends on the picture."""
        return isinstance(tensor, Tensor) and id(tensor) in self._node_of

    def know(self, tensor: Tensor, node: Node) -> None:
        """Say which node a tensor is."""
        self._alive.append(tensor)
        self._node_of[id(tensor)] = node

    def node_of(self, value: Any, like: Tensor | None = None) -> Node:
        """The node of a tensor; one that does not depend on the picture becomes a constant."""
        if self.knows(value):
            return self._node_of[id(value)]
        array = trace_ops.as_map(value if like is None else value.expand_as(like))
        node = self.add('constant', value, channels=array.shape[0], shape=tuple(array.shape))
        self.targets[id(node)] = (array.shape[1], array.shape[2])
        spread = bool((array == array[:, :1, :1]).all())
        node.value = (array[:, 0, 0] if spread else array).numpy().copy()
        return node

    def add(
        self, op: str, result: Tensor, shape: tuple[int, ...] | None = None, **fields: Any
    ) -> Node:
        """Make a node for a tensor; ``shape`` is its map's, where that is not the tensor's."""
        channels, height, width = shape or trace_ops.map_shape(result)
        fields.setdefault('channels', channels)
        fields.setdefault('name', self.layer)
        node = Node(op, **fields)
        self.nodes.append(node)
        self.shapes[id(node)] = (channels, height, width)
        return node


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


def _record(model: nn.Module, size: tuple[int, int]) -> tuple[Recorder, list[Node], list[int]]:
    """Run a model under a recorder; return it, the outputs' nodes, and their axes."""
    channels = _picture_channels(model)
    picture = torch.rand(1, channels, *size, dtype=torch.float64) * 2 - 1
    recorder = Recorder(picture)
    hooks = []
    for name, module in model.named_modules():
        hooks.append(module.register_forward_pre_hook(_enter(recorder, name)))
        hooks.append(module.register_forward_hook(lambda *_: recorder.layers.pop() and None))
    try:
        with torch.no_grad(), recorder:
            results = list(tensors_in(_call(model, picture)))
    except TraceError:
        raise
    except Exception as error:  # whatever a network raises where a size does not suit it
        raise SizeError(
            f'{recorder.layer}: the network does not take a picture of {size} pixels: {error}. '
            f'{NAME_IT}'
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    if not results:
        raise TraceError(f'{type(model).__name__} returns no tensor')
    return recorder, [recorder.node_of(t) for t in results], [t.dim() for t in results]


def _enter(recorder: Recorder, name: str) -> Callable[..., Any]:
    return lambda *_: recorder.layers.append(name or 'model')


def _call(model: nn.Module, pictures: Tensor) -> Any:
    if isinstance(model, BaseModel):
        return model(pictures, data_samples=None, mode='tensor')
    return model(pictures)


def _picture_channels(model: nn.Module) -> int:
    """Channels of the first convolution's input."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    raise TraceError(f'{type(model).__name__} has no convolution, so it takes no pictures')


def _merge(
    first: tuple[Recorder, list[Node], list[int]],
    second: tuple[Recorder, list[Node], list[int]],
    pictures: tuple[tuple[int, int], tuple[int, int]],
) -> Graph:
    """Find the rule behind every size from two runs; the second one's nodes are then forgotten."""
    recorder, outputs, ranks = first
    other = second[0]
    if [n.op for n in recorder.nodes] != [n.op for n in other.nodes]:
        raise SizeError(
            f'the network computes other things for a picture of {pictures[0]} than for one of '
            f'{pictures[1]} pixels. {NAME_IT}'
        )
    graph = Graph(recorder.picture, outputs, ranks)
    for node in graph.nodes():
        if node.op == 'pad':
            raise TraceError(f'{node.name}: pads zeros to what is not given to a convolution')
    rules: tuple[list[Rule], list[Rule]] = ([()], [()])
    sizes: dict[int, Size] = {}
    for node, twin in zip(recorder.nodes, other.nodes, strict=True):
        if id(node) in recorder.targets:
            seen = [
                (recorder.targets[id(node)][axis], other.targets[id(twin)][axis]) for axis in (0, 1)
            ]
            node.size = tuple(  # type: ignore[assignment]
                _rule(rules[axis], seen[axis], [size[axis] for size in pictures], node.name)
                for axis in (0, 1)
            )
        size = size_of(node, [sizes[id(before)] for before in node.inputs])
        sizes[id(node)] = size
        for axis in (0, 1):
            if size[axis] not in rules[axis]:
                rules[axis].append(size[axis])
    return graph


def _rule(known: list[Rule], seen: tuple[int, int], pictures: list[int], name: str) -> Rule:
    """The rule that gives the lengths seen in two runs: a map's, whole times a map's, or fixed."""
    if seen[0] == seen[1]:
        return fixed(seen[0], 1)[0]
    for factor in (1, 2, 4, 8, 16, 32):
        for rule in reversed(known):
            if tuple(apply(rule, length) * factor for length in pictures) == seen:
                return scaled((rule, rule), (factor, factor))[0]
    raise SizeError(
        f'{name}: a length that is {seen[0]} for {pictures[0]} pixels and {seen[1]} for '
        f'{pictures[1]} follows no rule. {NAME_IT}'
    )


@torch.no_grad()
def _check(graph: Graph, model: nn.Module, size: tuple[int, int]) -> None:
    """Compare the graph with the model on two pictures of a size that was not traced."""
    generator = torch.Generator().manual_seed(0)
    shape = 2, graph.picture.channels, *size
    pictures = torch.rand(shape, dtype=torch.float64, generator=generator) * 2 - 1
    try:
        expected, results = list(tensors_in(_call(model, pictures))), execute(graph, pictures)
    except Exception as error:
        raise SizeError(f'pictures of {size} pixels are refused: {error}. {NAME_IT}') from error
    for i, (got, want) in enumerate(zip(results, expected, strict=True)):
        if got.shape != want.shape:
            raise SizeError(
                f'output {i} has shape {tuple(want.shape)} in the network and {tuple(got.shape)} '
                f'in the graph, for pictures of {size} pixels. {NAME_IT}'
            )
        difference = float((got - want).abs().max() / want.abs().max().clamp_min(1e-30))
        if not difference <= TOLERANCE:
            raise SizeError(
                f'output {i} differs by {difference:.1e} of its largest value between the network '
                f'and the graph, for pictures of {size} pixels. '
                f'{NAME_IT}'
            )
