"""Parameters and MACs of a model: as built, and counting nonzero weights only."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from st_mm.measure.tracing import run_on_shapes

MULTIPLYING = (_ConvNd, nn.Linear)


@dataclass(frozen=True)
class LayerMacs:
    """MACs of one layer at one input size.

    Attributes:
        dense (int): Multiply-adds of its convolution or matrix products.
        nonzero (int): Those with a nonzero weight: the number of such weights times the number
            of positions where each is used. Products without a weight (queries by keys) count in
            full.
    """

    dense: int
    nonzero: int


@dataclass(frozen=True)
class Macs:
    """MACs of a network for one picture of one size.

    Attributes:
        layers (dict[str, LayerMacs]): MACs by name of the layer, in the order of the network.
    """

    layers: dict[str, LayerMacs]

    @property
    def dense(self) -> int:
        """Sum up all multiply-adds."""
        return sum(layer.dense for layer in self.layers.values())

    @property
    def nonzero(self) -> int:
        """Sum up those with nonzero weights (the paper's FLOPs of a pruned network)."""
        return sum(layer.nonzero for layer in self.layers.values())


def count_macs(model: nn.Module, input_shape: Sequence[int]) -> Macs:
    """Count the multiply-adds of convolutions and matrix products for one picture.

    Args:
        model (nn.Module): An mm model, or any module with one input.
        input_shape (Sequence[int]): (channels, height, width) of the picture.

    Returns:
        Macs: MACs per layer.

    Raises:
        ValueError: If the model cannot take a picture of that shape.
        RuntimeError: If convolutions or linear layers run, and torch counts nothing.
    """
    # half of what `import st_mm` would take, if it were imported at the top
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    shares = _own_flops(model, counter.get_total_flops)
    with counter, shares as own, _calls(model) as called, _tokens(model) as tokens:
        run_on_shapes(model, input_shape)
    layers = {
        name: LayerMacs(own[name] // 2, _nonzero(module, own[name] // 2, tokens.get(name, [])))
        for name, module in model.named_modules()
        if own.get(name)
    }
    if called and not layers:
        raise RuntimeError(
            f'{type(model).__name__} runs {len(called)} convolutions or linear layers '
            f'({called[0]!r}, ...), but FlopCounterMode of torch {torch.__version__} counts none '
            'of their products'
        )
    return Macs(layers)


@contextmanager
def _own_flops(model: nn.Module, counted: Callable[[], int]) -> Iterator[dict[str, int]]:
    """Share out what is counted by the names of the modules that run.

    A module has what is counted while it runs, without what is counted in the modules that it
    calls. torch shares out, too, but takes tuples apart that modules are given, up to 2.3.
    """
    own: dict[str, int] = {}
    running: list[tuple[int, list[int]]] = []  # counted at the start, and in each module called

    def begin(module: nn.Module, args: object) -> None:
        running.append((counted(), []))

    def end(name: str, module: nn.Module, args: object, output: object) -> None:
        start, called = running.pop()
        flops = counted() - start
        own[name] = own.get(name, 0) + flops - sum(called)
        if running:
            running[-1][1].append(flops)

    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(begin))
        handles.append(module.register_forward_hook(partial(end, name)))
    try:
        yield own
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _calls(model: nn.Module) -> Iterator[list[str]]:
    """Note the names of the convolutions and linear layers that give any values."""
    called: list[str] = []

    def note(name: str, module: nn.Module, args: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.numel():
            called.append(name)

    handles = [
        module.register_forward_hook(partial(note, name))
        for name, module in model.named_modules()
        if isinstance(module, MULTIPLYING) and module.weight.numel()
    ]
    try:
        yield called
    finally:
        for handle in handles:
            handle.remove()


Tokens = tuple[int, int, int]  # queries, keys and values of a call


@contextmanager
def _tokens(model: nn.Module) -> Iterator[dict[str, list[Tokens]]]:
    """Note how many tokens each call of an attention projects."""
    found: dict[str, list[Tokens]] = {}

    def note(name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = dict(zip(('query', 'key', 'value'), args, strict=False)) | kwargs
        query, key, value = (given[part] for part in ('query', 'key', 'value'))
        found.setdefault(name, []).append(
            (query.shape[:-1].numel(), key.shape[:-1].numel(), value.shape[:-1].numel())
        )

    handles = [
        module.register_forward_pre_hook(partial(note, name), with_kwargs=True)
        for name, module in model.named_modules()
        if isinstance(module, nn.MultiheadAttention)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _nonzero(module: nn.Module, macs: int, tokens: Sequence[Tokens]) -> int:
    """MACs of a layer that have a nonzero weight."""
    if not isinstance(module, nn.MultiheadAttention):
        return round(macs * _density(module))
    if module.in_proj_weight is not None:
        inputs: Sequence[torch.Tensor] = module.in_proj_weight.chunk(3)
    else:
        inputs = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
    # its out_proj is not called, but its weight used
    zeros = [int((weight == 0).sum()) for weight in (*inputs, module.out_proj.weight)]
    for queries, keys, values in tokens:
        macs -= sum(z * n for z, n in zip(zeros, (queries, keys, values, queries), strict=True))
    return macs


def count_params(model: nn.Module) -> tuple[int, int]:
    """Count all parameters, and those that are not zero."""
    parameters = list(model.parameters())
    total = sum(p.numel() for p in parameters)
    return total, sum(int(torch.count_nonzero(p)) for p in parameters)


def _density(module: nn.Module) -> float:
    weight = getattr(module, 'weight', None)
    if 'weight' not in module._parameters:
        for hook in module._forward_pre_hooks.values():  # old weight norm: made at the next pass
            if hasattr(hook, 'compute_weight'):
                options = dict(do_power_iteration=False) if hasattr(hook, 'eps') else {}
                weight = hook.compute_weight(module, **options)
    if not isinstance(weight, torch.Tensor) or not weight.numel():
        return 1.0
    return int(torch.count_nonzero(weight)) / weight.numel()
