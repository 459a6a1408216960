"""What may be loaded as a weight: a dense tensor of finite real numbers."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .printable import printable

EXTRA = '_extra_state'  # of a module, in whatever form it likes
OF_LAYERS = {'weight', 'bias', 'running_mean', 'running_var'}  # never infinite
ADVICE = 'the file was edited or damaged, or belongs to another program'


def check_dense(state_dict: Any, where: str) -> None:
    """Refuse a state dict with something that is not a dense tensor.

    torch copies a numpy array, a sparse or a quantized tensor into a weight without a word, or
    leaves the weight as it was.

    Args:
        state_dict (Any): What a file holds as weights.
        where (str): The file or the entry, for the error.

    Raises:
        ValueError: Naming the first tensor.
    """
    if not isinstance(state_dict, Mapping):
        raise ValueError(f'{where} has a {type(state_dict).__name__} for a state_dict: {ADVICE}')
    for name, value in state_dict.items():
        if not isinstance(name, str) or printable(name) != name:
            raise ValueError(f'{where} has a tensor with {name!r} for a name: {ADVICE}')
        if not name.endswith(EXTRA) and (kind := _not_dense(value)):
            raise ValueError(f"'{name}' in {where} is {kind}, not a dense tensor: {ADVICE}")


def _not_dense(value: Any) -> str:
    """What a value is, if it is not a dense tensor; else nothing."""
    if isinstance(value, np.ndarray):
        return 'a numpy array'
    if not torch.is_tensor(value):
        return f'a {type(value).__name__}'
    if value.is_nested:
        return 'a nested tensor'
    if value.layout != torch.strided:
        return 'a sparse tensor'
    if value.is_quantized:
        return 'a quantized tensor'
    if value.is_meta:
        return 'a tensor without values'
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return 'an expanded tensor'
    return ''


def check_values(
    state_dict: Mapping[str, Any], own: Iterable[tuple[str, Tensor]], where: str
) -> list[str]:
    """Refuse weights of another kind than those of a model, and NaN and Inf.

    Args:
        state_dict (Mapping[str, Any]): Dense tensors, see :func:`check_dense`.
        own (Iterable[tuple[str, Tensor]]): Names and tensors of the model; its own infinite values,
            of a mask say, may be in the state dict as well.
        where (str): The file or the entry, for the error.

    Returns:
        list[str]: Names of the tensors that have a lower float precision than the model's.

    Raises:
        ValueError: Naming the first tensor.
    """
    lower = []
    for name, tensor in own:
        value = state_dict.get(name)
        if not torch.is_tensor(value) or name.endswith(EXTRA):
            continue
        if _kind(value) != _kind(tensor) and not name.endswith('num_batches_tracked'):
            raise ValueError(
                f"'{name}' has the type {value.dtype} in {where} and {tensor.dtype} in the model: "
                + ADVICE
            )
        if value.is_floating_point() and value.element_size() < tensor.element_size():
            lower.append(name)
        finite = torch.isfinite(value)
        if not finite.all() and not _same_beside(value, tensor, finite):
            raise ValueError(_not_finite(name, where, int((~finite).sum())))
    return lower


def check_finite(state_dict: Mapping[str, Tensor], where: str) -> None:
    """Refuse NaN and Inf where there is no model to compare with.

    Args:
        state_dict (Mapping[str, Tensor]): Dense tensors, see :func:`check_dense`. A buffer of
            another name than a layer's own, such as a mask of attention, may be infinite.
        where (str): The file, for the error.

    Raises:
        ValueError: Naming the first tensor.
    """
    for name, tensor in state_dict.items():
        if not torch.is_tensor(tensor) or not tensor.is_floating_point():
            continue
        own = name.rpartition('.')[2] in OF_LAYERS
        count = int((~torch.isfinite(tensor) if own else torch.isnan(tensor)).sum())
        if count:
            raise ValueError(_not_finite(name, where, count))


def _not_finite(name: str, where: str, count: int) -> str:
    return (
        f"'{name}' in {where} has {count} values that are NaN or infinite: the training "
        'diverged, or ' + ADVICE
    )


def _same_beside(value: Tensor, own: Tensor, finite: Tensor) -> bool:
    """Whether the values that are not finite are the model's own."""
    return value.shape == own.shape and bool((value[~finite] == own.to(value)[~finite]).all())


def _kind(tensor: Tensor) -> str:
    if tensor.is_complex():
        return 'complex'
    return 'float' if tensor.is_floating_point() else 'integer'
