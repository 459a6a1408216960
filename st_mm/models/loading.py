"""Loading a ticket: take the shapes that come, refuse by name what does not fit."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

StateDict = Mapping[str, Tensor]


def set_data(tensor: Tensor, data: Tensor) -> None:
    """Put data of another shape behind a tensor that keeps its identity.

    Whatever still holds the graph of the last iteration also holds the parameter's AccumulateGrad
    node, which remembers the old shape. Autograd drops that node only when the dtype changes,
    hence the detour.

    Args:
        tensor (Tensor): Parameter or buffer, changed in place.
        data (Tensor): The new values, of the dtype and on the device of ``tensor``.
    """
    if tensor.shape != data.shape and tensor.is_floating_point():
        detour = torch.float32 if tensor.dtype == torch.float64 else torch.float64
        tensor.data = data.to(detour)
    tensor.data = data


def state_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the live parameters and persistent buffers behind ``module.state_dict()``, by key."""
    kept = module.state_dict().keys()
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if name in kept:
            yield name, tensor


def take_widths(module: nn.Module, state_dict: StateDict, prefix: str) -> None:
    """Let every unit owner in ``module`` take the number of units that ``state_dict`` has.

    Args:
        module (nn.Module): Searched for modules that have ``take_width``, itself included.
        state_dict (Mapping[str, Tensor]): What is being loaded.
        prefix (str): Prefix of the module's keys in ``state_dict``.

    Raises:
        RuntimeError: If an owner is wider in ``state_dict`` than its config allows.
    """
    for name, child in module.named_modules():
        if hasattr(child, 'take_width'):
            child.take_width(state_dict, f'{prefix}{name}.' if name else prefix)


def check_fit(module: nn.Module, state_dict: StateDict, prefix: str, required: bool) -> None:
    """Refuse a state dict whose tensors are not those of ``module``.

    mmengine turns a missing tensor and a wrong shape into a warning, and the score that follows
    is that of random weights; a ticket must not be read that way.

    Args:
        module (nn.Module): The module, its unit owners already as wide as the state dict says.
        state_dict (Mapping[str, Tensor]): What is being loaded.
        prefix (str): Prefix of the module's keys in ``state_dict``.
        required (bool): Whether a state dict with no key under ``prefix`` is an error as well.

    Raises:
        RuntimeError: Naming the first tensor that is missing or has another shape.
    """
    if not required and not any(key.startswith(prefix) for key in state_dict):
        return
    for name, tensor in state_tensors(module):
        key = prefix + name
        if key not in state_dict:
            if name.endswith('num_batches_tracked'):
                continue
            raise RuntimeError(
                f"the checkpoint has no tensor '{key}' for {type(module).__name__}: it belongs to "
                'another architecture; use the config that it was trained with'
            )
        if state_dict[key].shape != tensor.shape:
            raise RuntimeError(
                f"tensor '{key}' has shape {tuple(state_dict[key].shape)} in the checkpoint and "
                f'{tuple(tensor.shape)} in the model ({type(module).__name__}): the checkpoint '
                'belongs to another architecture; use the config that it was trained with'
            )


def misfit(key: str, found: tuple[int, ...], expected: str) -> RuntimeError:
    """Build the error for a unit owner's tensor that cannot be taken."""
    return RuntimeError(
        f"tensor '{key}' has shape {found} in the checkpoint, but the model takes {expected}: "
        'the checkpoint belongs to another architecture; use the config that it was trained with'
    )


class TicketModule(nn.Module):
    """Mixin of modules that contain unit owners: loads tickets of any width, and only tickets.

    Attributes:
        load_required (bool): Whether a checkpoint without any tensor for this module is refused
            (a backbone) or left to the caller's strictness (a neck that is trained anew).
    """

    load_required = False

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        take_widths(self, state_dict, prefix)
        check_fit(self, state_dict, prefix, self.load_required)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
