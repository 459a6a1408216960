"""Settled units: what masks have left of a hidden channel is a constant, or nothing."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Path(NamedTuple):
    """The tensors on the way through hidden channels: expand, norm, act, filter, norm, project.

    Attributes:
        before (Tensor): (units,) what the filters read of a channel whose row is zero.
        rows (Tensor): (units, ...) weights that a channel is made of.
        filters (Sequence[Tensor]): (units of a group, 1, k, k) depthwise filters, group by group.
        norm (nn.BatchNorm2d): What follows the filters, without a bias between.
        columns (Tensor): (outputs, units, ...) what reads the channels.
    """

    before: Tensor
    rows: Tensor
    filters: Sequence[Tensor]
    norm: nn.BatchNorm2d
    columns: Tensor


@torch.no_grad()
def settled(path: Path) -> Tensor:
    """Work out what the norm of each hidden channel gives, if it is a constant that can be folded.

    In eval mode, and exactly, a channel

    - whose column is zero gives nothing, whatever it is,
    - whose filter is zero is what the norm makes of zero,
    - whose row is zero feeds ``before`` to its filter: the constant is that times the sum of the
      filter. But a filter pads with zeros, so that at the borders it is another one. Only a filter
      of nothing but its centre, or a ``before`` of zero, gives the same everywhere.

    Args:
        path (Path): The tensors.

    Returns:
        Tensor: (units,) float64; nan where the output is no such constant.
    """
    row, column = (_zero(path.rows, 0), _zero(path.columns, 1))
    no_filter = torch.cat([_zero(filters, 0) for filters in path.filters])
    centre = torch.cat([_only_centre(filters) for filters in path.filters])
    sums = torch.cat([filters.double().sum((1, 2, 3)) for filters in path.filters])
    silent = no_filter | (row & (path.before == 0))
    fed = torch.where(silent, 0.0, path.before.double() * sums)
    constant = silent | (row & centre)
    outputs = torch.where(constant, _normalized(path.norm, fed), torch.nan)
    return torch.where(column & ~constant, 0.0, outputs)


@torch.no_grad()
def settled_of_layers(
    layers: Sequence[tuple[nn.Module, nn.BatchNorm2d]],
    between: Callable[[Tensor], Tensor],
    act: Callable[[Tensor], Tensor],
    project: Tensor,
    squeeze: Tensor | None = None,
) -> Tensor:
    """Do :func:`settled` for convolutions and norms, the last of them depthwise or the only one.

    Beside a squeeze-and-excitation a constant is scaled by what the picture asks for. There a
    channel has to give nothing, or be read by neither projection nor squeeze.

    Args:
        layers (Sequence[tuple[nn.Module, nn.BatchNorm2d]]): One or two convolutions, their norms.
        between (Callable): What follows the first of two norms.
        act (Callable): What follows the last norm.
        project (Tensor): (outputs, units, 1, 1) the projection.
        squeeze (Tensor, optional): (outputs, units, 1, 1) the squeeze. Defaults to None.

    Returns:
        Tensor: (units,) float64, as of :func:`settled`.
    """
    (first, norm), (last, unit_norm) = layers[0], layers[-1]
    rows: Any = first.weight
    filters: Any
    if len(layers) == 1:  # without its row a channel is what the norm makes of zero
        before, filters = torch.zeros(len(rows), device=rows.device), torch.ones_like(rows[:, :1])
    else:
        before, filters = between(outputs_of_zero(norm, first)), last.weight
    if last.bias is not None:
        return torch.full_like(before, torch.nan, dtype=torch.float64)
    read = [project.flatten(1), *([] if squeeze is None else [squeeze.flatten(1)])]
    columns = torch.cat(read)
    outputs = settled(Path(before, rows, [filters], unit_norm, columns))
    if squeeze is None:
        return outputs
    return torch.where((act(outputs.clone()) == 0) | _zero(columns, 1), outputs, torch.nan)


@torch.no_grad()
def outputs_of_zero(norm: nn.BatchNorm2d, conv: nn.Module) -> Tensor:
    """Compute what a norm gives in eval mode after a convolution whose weights are zero.

    Args:
        norm (nn.BatchNorm2d): The norm.
        conv (nn.Module): The convolution before it, whose bias counts.

    Returns:
        Tensor: (channels,) float64.
    """
    bias = getattr(conv, 'bias', None)
    return _normalized(norm, torch.zeros_like(norm.bias) if bias is None else bias)


def _normalized(norm: nn.BatchNorm2d, values: Tensor) -> Tensor:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return (values.double() - norm.running_mean.double()) * scale + norm.bias.double()


def _zero(weight: Tensor, dim: int) -> Tensor:
    """Which slices along a dimension have nothing but zeros."""
    others = [each for each in range(weight.dim()) if each != dim]
    return ~(weight != 0).sum(others).bool() if others else weight == 0


def _only_centre(filters: Tensor) -> Tensor:
    """Which filters have no weight beside their centre."""
    rest = filters.clone()
    rest[:, :, filters.shape[2] // 2, filters.shape[3] // 2] = 0
    return _zero(rest, 0)
