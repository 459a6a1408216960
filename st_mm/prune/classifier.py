"""The task's classifier: the last layers before the prediction, which stay dense.

They are found by what they do: the model runs once on shapes alone, and from every prediction the
graph of autograd leads back to the layers that made it with no other weights in between. What a
run cannot show has names (:data:`CLASSIFIER`).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from inspect import signature
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.func import functional_call

from .stand_ins import as_it_was

# The layers of mm's heads that give the scores, coordinates or heatmaps of the task, for heads
# that cannot be run alone. Reasons for the names that a run does not show: final_layer of the SimCC
# heads has one channel per keypoint; the heads of self-supervised models know no `forward`; DEKR
# needs compiled operators, and the mask formers need targets.
CLASSIFIER = re.compile(
    r"""(^|\.)\w*head(\.\d+|s\.\w+)?\.  # in a head, or in one of several
    (
        conv_seg | fc_seg | \w+_cls_seg | cls_embed | mask_embed\.\d+  # mmseg
        | fc | fc2 | fc_cls | layers\.\d+\.fc | norm_product | \w*cls_head  # mmpretrain
        | (layers\.)?(head | head_dist | dist_head)(\.linear)?
        | final_layer | multi_final_layers\.\d+ | cls_[xy] | mlp_head_[xy]  # mmpose
        | (heatmap|displacement)_conv_layers\.\d+
    )$
    | (^|\.)(traj_)?head\.conv$  # mmpose's pose lifters, which take keypoints, not pictures""",
    re.VERBOSE,
)
STACK = re.compile(r'\b(layers|mask_embed|heatmap_conv_layers|displacement_conv_layers)\.\d+')
HEAD = re.compile(r'^mm\w+\.models\.\w*heads\.')  # of the modules that define mm's heads
SIZES = ((64, 64), (32, 32), (224, 224), (256, 256), (256, 192), (512, 512), (28, 28))


def classifiers(model: nn.Module, weights: Mapping[str, Tensor]) -> set[str]:
    """Find the weights of the task's classifier.

    A pure function of the model's structure: every rank and every resumed run finds the same.

    Args:
        model (nn.Module): An mm model is run as ``mode='tensor'`` says, and then each head by
            itself that this has left out (auxiliary ones). Of other modules the heads of the
            libraries alone are looked at, since nobody says what their predictions are.
        weights (Mapping[str, Tensor]): Weights of all layers by name.

    Returns:
        set[str]: Names of weights.
    """
    found = by_name(weights)
    heads = _heads(model)
    if isinstance(model, BaseModel):
        found |= _by_running(model, heads, weights)
    return found


def by_name(weights: Iterable[str]) -> set[str]:
    """Find classifiers by the names that mm's heads give them."""
    named = {
        STACK.sub(r'\1', name): name  # of a stack, the last one
        for name in weights
        if CLASSIFIER.search(name.removesuffix('.weight'))
    }
    return set(named.values())


def _heads(model: nn.Module) -> dict[str, nn.Module]:
    """Outermost heads of the libraries by name, and of projects that derive from them."""
    heads: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        inside = any(name.startswith(f'{outer}.') for outer in heads)
        if not inside and any(HEAD.search(base.__module__) for base in type(module).__mro__):
            heads[name] = module
    return heads


def _by_running(
    model: BaseModel, heads: Mapping[str, nn.Module], weights: Mapping[str, Tensor]
) -> set[str]:
    for device, sizes in (('meta', SIZES), ('cpu', SIZES[:3])):
        for size in (*_own_sizes(model), *sizes):
            for channels in dict.fromkeys((3, *_first_channels(weights))):
                try:
                    return _run(model, heads, weights, (channels, *size), device)
                except Exception:
                    continue
    return set()


def _own_sizes(model: nn.Module) -> list[tuple[int, int]]:
    """Sizes of pictures that modules of the model name."""
    found = []
    for module in model.modules():
        size = getattr(module, 'img_size', None)
        size = (size, size) if isinstance(size, int) else size
        if size is None:  # of mmpose's heads: (width, height)
            size = getattr(module, 'input_size', None)
            size = size[::-1] if isinstance(size, (tuple, list)) else None
        if isinstance(size, (tuple, list)) and len(size) == 2:
            found.append((int(size[0]), int(size[1])))
    return list(dict.fromkeys(found))


def _first_channels(weights: Mapping[str, Tensor]) -> list[int]:
    return [weight.shape[1] for weight in weights.values() if weight.dim() == 4][:1]


def _run(
    model: BaseModel,
    heads: Mapping[str, nn.Module],
    weights: Mapping[str, Tensor],
    shape: Sequence[int],
    device: str,
) -> set[str]:
    """Run a model and its heads on two pictures, and follow what comes out back to its layers."""
    made: dict[Any, str] = {}  # nodes of the graph, by which layer made them
    seen: dict[str, tuple[Any, Any]] = {}  # inputs and outputs of heads

    def note(layer: str, module: nn.Module, inputs: Any, outputs: Any) -> None:
        for tensor in tensors_in(outputs):
            if tensor.grad_fn is not None:
                made[tensor.grad_fn] = layer

    def watched(name: str, forward: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
        outputs = forward(*inputs, **options)
        seen[name] = (inputs, outputs)
        return outputs

    layers = _layers(model, weights)
    standing = _stand_ins(model, device)
    pictures = torch.ones(2, *shape, device=device)
    with ExitStack() as stack:
        stack.enter_context(as_it_was(model))
        stack.enter_context(torch.enable_grad())
        modules = dict(model.named_modules())
        for name in layers:
            stack.callback(modules[name].register_forward_hook(partial(note, name)).remove)
        for name, head in heads.items():  # no hooks: mm's models call `forward` itself
            vars(head)['forward'] = partial(watched, name, head.forward)
            stack.callback(vars(head).pop, 'forward', None)
        model.train()  # some heads predict more in training
        takes = signature(model.forward).parameters
        kwargs = {k: v for k, v in dict(data_samples=None, mode='tensor').items() if k in takes}
        outputs = functional_call(model, standing, (pictures,), kwargs)
        features = [inputs for inputs, _ in seen.values()]
        for name, head in heads.items():
            for inputs in features if name not in seen else ():
                try:
                    functional_call(_Part(model, head), _prefixed(standing), inputs)
                    break
                except Exception:
                    continue
        predictions = [each for _, each in seen.values()]
        if seen or not heads:  # heads that are left out: what comes out is features
            predictions.append(outputs)
        last = set(_last_layers(tensors_in(predictions), made))
    return {weight for layer in last for weight in layers[layer]}


class _Part(nn.Module):
    """A head together with its model, so that names are those of the model."""

    def __init__(self, model: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.call: Callable[..., Any] = lambda *inputs: head(*inputs)

    def forward(self, *inputs: Any) -> Any:
        return self.call(*inputs)


def _prefixed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f'model.{name}': tensor for name, tensor in tensors.items()}


def _layers(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Weights by the module that uses them: the innermost one that is called for it."""
    layers: dict[str, list[str]] = {}
    modules = dict(model.named_modules())
    for weight in weights:
        layer = weight.rpartition('.')[0]
        while layer and '.parametrizations' in f'.{layer}':
            layer = layer.rpartition('.')[0]
        outer = layer.rpartition('.')[0]
        if layer and isinstance(modules.get(outer), nn.MultiheadAttention):  # calls no out_proj
            layer = outer
        layers.setdefault(layer, []).append(weight)
    return layers


def _stand_ins(model: nn.Module, device: str) -> dict[str, Tensor]:
    """Copies of all tensors of a model, those of floats as something to differentiate by."""
    standing = {}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        copy = tensor.detach().to(device, copy=True)
        is_parameter = isinstance(tensor, nn.Parameter) and copy.is_floating_point()
        standing[name] = copy.requires_grad_() if is_parameter else copy
    return standing


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested lists, tuples, dicts and data elements."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from tensors_in(each)


def _last_layers(outputs: Iterable[Tensor], made: Mapping[Any, str]) -> Iterator[str]:
    """Go back from outputs through the graph, and stop at the first layer on each way."""
    waiting = [tensor.grad_fn for tensor in outputs if tensor.grad_fn is not None]
    visited = set()
    while waiting:
        node = waiting.pop()
        if node in visited:
            continue
        visited.add(node)
        if node in made:
            yield made[node]
        else:
            waiting += [before for before, _ in node.next_functions if before is not None]
