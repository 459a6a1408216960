"""An estimate of the time on a sparse accelerator (paper Table 10, last column).

The model is analytic: an engine like SIGMA (Qin et al., HPCA 2020) with a row of multipliers, a
network that gives any multiplier any input, and a tree that adds up groups of any size. Nonzero
weights lie still in the multipliers, and the inputs stream past them. What it takes for granted:

- A layer runs in folds of as many nonzero weights as there are multipliers; the last fold of a
  layer may be partly filled. This, and nothing else, lowers the use of the multipliers.
- A fold loads its weights, then takes a cycle per position, or more where its distinct inputs
  exceed what the network delivers in a cycle, and ends with the depth of the tree.
- Zeros in the inputs are not skipped. Norms, activations, resizing and sums are free: they are
  folded in or hidden.
- Weights are read once as values and one bit per place, inputs and outputs once per layer. Memory
  and arithmetic overlap, so that a layer takes the longer of the two.
- Layers run one after the other. Products without a weight (attention) are dense.

The paper does not give the size of its engine. Compare ratios between networks, not milliseconds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .tracing import run_on_shapes


@dataclass(frozen=True)
class Engine:
    """A sparse accelerator.

    Attributes:
        multipliers (int): Multiply-adds in a cycle. Defaults to 128.
        clock (float): Cycles per second. Defaults to 500 MHz.
        inputs (int): Distinct inputs that reach the multipliers in a cycle. Defaults to 128.
        loads (int): Weights that reach the multipliers in a cycle. Defaults to 128.
        bandwidth (float): Bytes to and from memory in a second. Defaults to 16e9.
        value (int): Bytes of a value. Defaults to 1 (int8).
    """

    multipliers: int = 128
    clock: float = 500e6
    inputs: int = 128
    loads: int = 128
    bandwidth: float = 16e9
    value: int = 1


@dataclass(frozen=True)
class LayerTime:
    """A layer on the engine.

    Attributes:
        name (str): Name of the module.
        compute (float): Seconds that its multiply-adds take.
        memory (float): Seconds that its bytes take.
        use (float): Share of the multipliers that work, over the seconds of ``compute``.
    """

    name: str
    compute: float
    memory: float
    use: float

    @property
    def seconds(self) -> float:
        """The longer of the two."""
        return max(self.compute, self.memory)


def layer_times(
    model: nn.Module, input_shape: Sequence[int], engine: Engine | None = None
) -> list[LayerTime]:
    """Estimate every convolution and linear layer for one picture.

    Args:
        model (nn.Module): The model; the zeros of its weights count.
        input_shape (Sequence[int]): (channels, height, width) of the picture.
        engine (Engine, optional): The accelerator. Defaults to ``Engine()``.

    Returns:
        list[LayerTime]: The layers in the order in which they run.

    Raises:
        ValueError: If the model cannot take a picture of that shape.
    """
    engine = engine or Engine()
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    weights = {name: layer.weight.detach() for name, layer in layers.items()}  # meta, while it runs
    found: list[LayerTime] = []

    def note(name: str, layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = weights[name]
        if weight.numel():
            positions = output.numel() // weight.shape[0]
            moved = inputs[0].numel() + output.numel()
            found.append(_layer_time(name, weight, positions, moved, engine))

    handles = [layer.register_forward_hook(partial(note, name)) for name, layer in layers.items()]
    try:
        run_on_shapes(model, input_shape)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _layer_time(name: str, weight: Tensor, positions: int, moved: int, engine: Engine) -> LayerTime:
    """Time of a layer whose weight is used at some positions and that moves some values."""
    nonzero = int(torch.count_nonzero(weight))
    folds = math.ceil(nonzero / engine.multipliers)
    # distinct inputs of a fold: as many as it has columns with a nonzero weight, at most
    columns = int((weight != 0).flatten(1).any(0).sum())
    distinct = min(columns, engine.multipliers)
    per_position = max(1, math.ceil(distinct / engine.inputs))
    drain = math.ceil(math.log2(engine.multipliers))
    cycles = folds * (positions * per_position + drain) + math.ceil(nonzero / engine.loads)
    bytes_moved = engine.value * (nonzero + moved) + weight.numel() / 8
    return LayerTime(
        name,
        compute=cycles / engine.clock,
        memory=bytes_moved / engine.bandwidth,
        use=nonzero * positions / (engine.multipliers * cycles) if cycles else 0.0,
    )
