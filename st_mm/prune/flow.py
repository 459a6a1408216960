"""SynFlow's flow: how much of a constant picture reaches the outputs (Tanaka et al. 2020)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from st_mm.private import without_checkpoints

from .stand_ins import Weights, as_it_was, leaves_for, over_ranks, parameters_of

TINY = 1e-300  # a flow from here to 1 / TINY has its full precision in float64
FLOW_INPUTS = (1.0, 1e-280, 1e280)  # constants of the picture that are tried


def flow_slopes(
    model: nn.Module, weights: Weights, shape: Sequence[int] | None
) -> dict[str, Tensor]:
    """Compute the slope of the log flow through the model (SynFlow, Tanaka et al. 2020).

    The flow R is the sum of all outputs for a picture of ones, in eval mode, with every
    parameter replaced by its magnitude. Biases are zero. A norm only scales its channels: BN by
    |scale| / sqrt(running_var + eps), other norms, which have no running statistics, by |scale|.
    An mm model runs with ``mode='tensor'``. Weights that are not used in this mode, such as those
    of auxiliary heads, have a slope of zero. So have the queries and keys of an attention, because
    its softmax is saturated: name them in the hook's ``skip``.

    Everything is in float64. If the flow is out of range, the picture has another constant. For
    the layers of SynFlow (convolutions, linear layers, norms, ReLU, pooling, interpolation) R is
    proportional to that constant, and the slope of log R does not depend on it. So gains from
    1e-580 to 1e580 are possible.

    Args:
        model (nn.Module): The model, not wrapped.
        weights (Mapping[str, Tensor]): Weights by their names in the model.
        shape (Sequence[int], optional): (channels, height, width) of one picture.

    Returns:
        dict[str, Tensor]: d log R / d|w| of the weights' shapes, float64.

    Raises:
        ValueError: If there is no shape, the model cannot take it in float64, or no
            finite flow reaches the outputs.
    """
    if shape is None or len(shape) != 3:
        raise ValueError(
            f'input_shape must be (channels, height, width) to compute a flow, got {shape}'
        )
    magnitudes = {name: w.detach().abs().double() for name, w in weights.items()}
    leaves, given = leaves_for(model, magnitudes)
    tensors = {
        name: given[id(p)] if id(p) in given else _stand_in(name, p.detach())
        for name, p in parameters_of(model).items()
    }
    for name, buffer in model.named_buffers():
        dtype = torch.float64 if buffer.is_floating_point() else buffer.dtype
        tensors[name] = buffer.to(dtype, copy=True)
    device = next(iter(magnitudes.values())).device
    picture = torch.ones(1, *shape, dtype=torch.float64, device=device)
    with as_it_was(model), torch.enable_grad(), without_checkpoints():
        model.eval()
        for value in FLOW_INPUTS:
            flow = _flow(model, tensors, value * picture)
            if TINY < flow.abs() < 1 / TINY:
                break
        else:
            raise ValueError(
                f'the flow through {type(model).__name__} is {flow.item()}, which no '
                'weight can be scored by: a layer between input and output has lost all its '
                'weights or started from zeros, or a parameter is not finite'
            )
        slopes = torch.autograd.grad(
            flow / flow.detach().abs(), list(leaves.values()), allow_unused=True
        )
    return over_ranks(  # each rank has its own BN statistics
        {
            name: torch.zeros_like(leaf.detach()) if slope is None else slope
            for (name, leaf), slope in zip(leaves.items(), slopes, strict=True)
        }
    )


def _flow(model: nn.Module, tensors: dict[str, Tensor], picture: Tensor) -> Tensor:
    """Sum up the outputs of the model with other tensors in it."""
    kwargs = dict(data_samples=None, mode='tensor') if isinstance(model, BaseModel) else {}
    try:
        with _NormsAsScales():
            outputs = functional_call(model, tensors, (picture,), kwargs)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f'{type(model).__name__} cannot take an input_shape of '
            f'{tuple(picture.shape[1:])} in float64: {error}'
        ) from error
    return torch.stack([output.sum() for output in _floats_in(outputs)]).sum()


def _stand_in(name: str, parameter: Tensor) -> Tensor:
    """Replace a parameter that is not scored, for a flow."""
    if not parameter.is_floating_point():
        return parameter
    is_bias = 'bias' in name.rpartition('.')[2]  # bias, in_proj_bias, relative_position_bias_table
    return torch.zeros_like(parameter, dtype=torch.float64) if is_bias else parameter.abs().double()


def _floats_in(outputs: Any) -> Iterator[Tensor]:
    """Yield every floating point tensor in nested lists, tuples and dicts."""
    if isinstance(outputs, Tensor):
        if outputs.is_floating_point():
            yield outputs
    elif isinstance(outputs, Mapping):
        yield from _floats_in(tuple(outputs.values()))
    elif isinstance(outputs, (list, tuple)):
        for output in outputs:
            yield from _floats_in(output)


class _NormsAsScales(TorchFunctionMode):
    """Makes every norm scale its channels, and do nothing else."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        stand_in: Callable[..., Any] = _SCALES.get(func, func)
        return stand_in(*args, **(kwargs or {}))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    *,
    weight: Tensor | None = None,
    eps: float = 1e-5,
    **_: Any,
) -> Tensor:
    """Replace batch_norm and instance_norm: channels are dim 1."""
    scale = x.new_ones(x.shape[1]) if weight is None else weight
    if running_var is not None:
        scale = scale / (running_var + eps).sqrt()
    return x * scale.view(-1, *[1] * (x.dim() - 2))


def _group_norm(x: Tensor, groups: int, *, weight: Tensor | None = None, **_: Any) -> Tensor:
    return _batch_norm(x, weight=weight)


def _layer_norm(x: Tensor, over: Any, *, weight: Tensor | None = None, **_: Any) -> Tensor:
    return x if weight is None else x * weight


_SCALES: dict[Any, Callable[..., Tensor]] = {  # called with the keywords that torch passes
    F.batch_norm: _batch_norm,
    F.group_norm: _group_norm,
    F.instance_norm: _batch_norm,
    F.layer_norm: _layer_norm,
}
