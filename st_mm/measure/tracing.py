"""Running a model on shapes alone: without data and arithmetic, and without side effects."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.func import functional_call


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode, and give every module its own mode back at the end."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def run_on_shapes(model: nn.Module, input_shape: Sequence[int]) -> None:
    """Run one forward pass on the meta device, for hooks or modes that watch it.

    Args:
        model (nn.Module): An mm model (run with ``mode='tensor'``) or any module with one input.
        input_shape (Sequence[int]): (channels, height, width) of one picture, which has the dtype
            of the model's parameters.

    Raises:
        ValueError: If the model cannot take a picture of that shape.
    """
    if len(input_shape) != 3 or any(size < 1 for size in input_shape):
        raise ValueError(f'input_shape must be (channels, height, width), got {input_shape}')
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
    picture = torch.empty(1, *input_shape, device='meta', dtype=dtype)
    kwargs = dict(data_samples=None, mode='tensor') if isinstance(model, BaseModel) else {}
    # some layers keep what they make in a pass, as old weight norm its weight
    attributes = [(module, dict(vars(module))) for module in model.modules()]
    try:
        with eval_mode(model), torch.no_grad():
            functional_call(model, _shapes(model), (picture,), kwargs, tie_weights=False)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f'{type(model).__name__} cannot take an input_shape of {tuple(input_shape)}: {error}'
        ) from error
    finally:
        for module, kept in attributes:
            vars(module).clear()
            vars(module).update(kept)


def _shapes(model: nn.Module) -> dict[str, Tensor]:
    """Make the tensors of a model without values; tied ones are one tensor.

    Each module has one name here: where it has two, ``functional_call`` swaps twice, and leaves
    the tensors that it was given in the model.
    """
    made: dict[Tensor, Tensor] = {}
    tensors = {}
    for prefix, module in model.named_modules():
        options = dict(prefix=prefix, recurse=False, remove_duplicate=False)
        for name, tensor in (*module.named_parameters(**options), *module.named_buffers(**options)):
            if tensor not in made:
                made[tensor] = tensor.detach().to('meta')
            tensors[name] = made[tensor]
    return tensors
