"""Loading a ticket: take the shapes of the file, and refuse by name what does not fit."""

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from st_mm.tensors import check_dense, check_values

from .owner import StateDict, UnitOwner, Widths, find_owners, owner_of

COUNTER = 'num_batches_tracked'  # of a norm; old checkpoints lack it, and it changes no output
FOREIGN = 'the checkpoint belongs to another architecture; use the config that it was trained with'


def set_data(tensor: Tensor, data: Tensor) -> None:
    """Give a tensor data of another shape; it keeps its identity and loses its gradient.

    Whatever still holds the graph of the last iteration also holds the parameter's AccumulateGrad
    node, which remembers the old shape. Autograd drops that node only when the dtype changes. So
    the data take another dtype first, and then their own.

    Args:
        tensor (Tensor): Parameter or buffer, changed in place.
        data (Tensor): The new values, of the dtype and on the device of ``tensor``.
    """
    if tensor.shape != data.shape and tensor.is_floating_point():
        detour = torch.float32 if tensor.dtype == torch.float64 else torch.float64
        tensor.grad = None
        tensor.data = data.to(detour)
    tensor.data = data


def state_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters and persistent buffers in ``module.state_dict()``, by key."""
    kept = module.state_dict().keys()
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if name in kept:
            yield name, tensor


def shapes_at(module: nn.Module, owner: UnitOwner, widths: Widths) -> dict[str, torch.Size]:
    """Compute the shapes of an owner's tensors for other numbers of units per group."""
    shapes = {}
    for name, dim, group in owner.unit_slices():
        shape = list(attrgetter(name)(module).shape)
        shape[dim] = sum(widths.values()) if group is None else widths[group]
        shapes[name] = torch.Size(shape)
    return shapes


def set_widths(module: nn.Module, widths: Widths) -> None:
    """Give a module other numbers of units, and zeros as values; a load follows.

    Args:
        module (nn.Module): Owns units; changed in place, its parameters keep their identity.
        widths (Mapping[str, int]): Units per group.
    """
    owner = owner_of(module)
    if owner is None or widths == owner.unit_groups():
        return
    for name, shape in shapes_at(module, owner, widths).items():
        tensor = attrgetter(name)(module)
        set_data(tensor, tensor.new_zeros(shape))
    owner.sync_units()


def take_widths(module: nn.Module, state_dict: StateDict, prefix: str) -> None:
    """Give every unit owner in ``module`` the number of units that ``state_dict`` has.

    Args:
        module (nn.Module): Changed in place; the load that follows brings the values.
        state_dict (Mapping[str, Tensor]): What is being loaded.
        prefix (str): Prefix of the module's keys in ``state_dict``.

    Raises:
        RuntimeError: If an owner is wider in ``state_dict`` than its config allows; nothing is
            changed.
    """
    incoming = [
        (name, owner.widths_in(state_dict, f'{prefix}{name}.' if name else prefix))
        for name, owner in find_owners(module).items()
    ]
    for name, widths in incoming:
        set_widths(module.get_submodule(name), widths)


def check_fit(module: nn.Module, state_dict: StateDict, prefix: str, required: bool) -> None:
    """Refuse a state dict that does not have exactly the tensors of ``module``, units aside.

    For a missing tensor, a surplus one or a wrong shape, mmengine only warns. The score is then
    that of random weights, or of a part of the ticket. Nothing is changed here: the module may
    take its widths later (:func:`take_widths`).

    Args:
        module (nn.Module): The module.
        state_dict (Mapping[str, Tensor]): What is being loaded.
        prefix (str): Prefix of the module's keys in ``state_dict``.
        required (bool): Whether a state dict with no key under ``prefix`` is an error as well.

    Raises:
        RuntimeError: Naming the first tensor that is missing, has another shape, or has no place.
        ValueError: Naming the first that is not dense, of another kind, NaN or infinite.
    """
    incoming = {key for key in state_dict if key.startswith(prefix)}
    if not required and not incoming:
        return
    check_dense({key: state_dict[key] for key in incoming}, 'the checkpoint')
    shapes = {name: tensor.shape for name, tensor in state_tensors(module)}
    for name, owner in find_owners(module).items():
        path = f'{name}.' if name else ''
        widths = owner.widths_in(state_dict, prefix + path)
        for tensor, shape in shapes_at(module.get_submodule(name), owner, widths).items():
            shapes[path + tensor] = shape
    for name, shape in shapes.items():
        key = prefix + name
        if key not in state_dict:
            if name.endswith(COUNTER):
                continue
            raise RuntimeError(
                f"the checkpoint has no tensor '{key}' for {type(module).__name__}: {FOREIGN}"
            )
        if state_dict[key].shape != shape:
            raise RuntimeError(
                f"tensor '{key}' has shape {tuple(state_dict[key].shape)} in the checkpoint and "
                f'{tuple(shape)} in the model ({type(module).__name__}): {FOREIGN}'
            )
    places = {prefix + name for name in module.state_dict()}
    if surplus := sorted(key for key in incoming - places if not key.endswith(COUNTER)):
        raise RuntimeError(
            f"tensor '{surplus[0]}' (and {len(surplus) - 1} more) in the checkpoint has no place "
            f'in {type(module).__name__}: {FOREIGN}'
        )
    own = ((prefix + name, tensor) for name, tensor in state_tensors(module))
    check_values(state_dict, own, 'the checkpoint')


def misfit(key: str, found: tuple[int, ...], expected: str) -> RuntimeError:
    """Build the error for a unit owner's tensor that cannot be taken."""
    return RuntimeError(
        f"tensor '{key}' has shape {found} in the checkpoint, but the model takes {expected}: "
        + FOREIGN
    )


class TicketModule(nn.Module):
    """Mixin for modules with unit owners: loads tickets of any width, and nothing else.

    Attributes:
        load_required (bool): Whether to refuse a checkpoint without any tensor for this module
            (a backbone). False leaves that to the caller's ``strict`` (a neck that is new).
    """

    load_required = False

    def _load_from_state_dict(
        self, state_dict: StateDict, prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        check_fit(self, state_dict, prefix, self.load_required)
        take_widths(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
