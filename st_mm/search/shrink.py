"""Removing search units from a model in training, in place and everywhere at once."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from st_mm.units.loading import set_data, state_tensors
from st_mm.units.owner import UnitOwner, find_owners


class Cut(NamedTuple):
    """The part of a tensor that stays: ``tensor.index_select(dim, keep)``."""

    dim: int
    keep: Tensor

    def __call__(self, tensor: Tensor) -> Tensor:
        """Apply the cut, keeping the memory format of 4-d tensors."""
        cut = tensor.index_select(self.dim, self.keep.to(tensor.device))
        if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
            cut = cut.contiguous(memory_format=torch.channels_last)
        return cut


Aligned = MutableMapping[str, Tensor]


def plan_cuts(owners: Mapping[str, UnitOwner], dead: Mapping[str, Tensor]) -> dict[str, Cut]:
    """Work out the cut of every tensor that loses units.

    Args:
        owners (Mapping[str, UnitOwner]): The owners of the units, by name.
        dead (Mapping[str, Tensor]): (units,) bool per owner, True for what goes.

    Returns:
        dict[str, Cut]: A cut per full tensor name.

    Raises:
        ValueError: If ``dead`` does not fit an owner.
    """
    cuts = {}
    for name, mask in dead.items():
        if name not in owners:
            raise ValueError(f"'{name}' owns no search units in this model")
        groups = owners[name].unit_groups()
        if mask.shape != (sum(groups.values()),):
            raise ValueError(
                f"'{name}' has {sum(groups.values())} units, but the mask of dead units has shape "
                f'{tuple(mask.shape)}'
            )
        if not mask.any():
            continue
        alive = (~mask).cpu()
        if alive.sum() < owners[name].least_units:
            raise ValueError(
                f"'{name}' does not run with fewer than {owners[name].least_units} units, but "
                f'{int(alive.sum())} would stay'
            )
        parts = dict(zip(groups, alive.split(list(groups.values())), strict=True))
        for tensor, dim, group in owners[name].unit_slices():
            part = alive if group is None else parts[group]
            cuts[f'{name}.{tensor}' if name else tensor] = Cut(dim, part.nonzero().flatten())
    return cuts


def shrink(
    model: nn.Module,
    dead: Mapping[str, Tensor],
    copies: Sequence[nn.Module] = (),
    optimizers: Sequence[Optimizer] = (),
    aligned: Sequence[Aligned] = (),
    absorb: bool = True,
) -> dict[str, Cut]:
    """Remove units from a model and from everything that has its shapes.

    Parameters keep their identity. What the dead units still add in eval mode moves into the
    running mean after them; the model and each copy do that with their own weights. If something
    cannot be cut, or does not have the model's shapes, this is found before anything is changed.

    Args:
        model (nn.Module): The live model, not wrapped.
        dead (Mapping[str, Tensor]): (units,) bool per owner name, True for what goes.
        copies (Sequence[nn.Module]): Copies of the model with the same names (EMA).
        optimizers (Sequence[Optimizer]): Optimizers of the live model.
        aligned (Sequence[MutableMapping[str, Tensor]]): Tensors by parameter name that have the
            parameter's shape (masks, latent weights); entries are replaced.
        absorb (bool): Whether what the units still add moves into the running means. False is for
            units that are not dead, when the weights will be trained anew. Defaults to True.

    Returns:
        dict[str, Cut]: The cut of every tensor that lost units; empty if none did.

    Raises:
        ValueError: If masks, optimizers or copies do not fit the model, or a tensor to cut is
            shared; nothing is changed.
    """
    cuts = plan_cuts(find_owners(model), dead)
    if not cuts:
        return cuts
    _check_shared(model, cuts)
    check_in_step(model, copies, optimizers, aligned)
    names: dict[Tensor, str] = {
        parameter: name for name, parameter in model.named_parameters() if name in cuts
    }
    states = _plan_state(optimizers, names)

    for each in (model, *copies):
        owners = find_owners(each)
        for name, mask in dead.items():
            if absorb and mask.any():
                owners[name].absorb_units(mask.to(owners[name].unit_bn.weight.device))
        for name, cut in cuts.items():
            tensor = attrgetter(name)(each)
            gradient = tensor.grad
            set_data(tensor, cut(tensor.data))
            tensor.grad = None if gradient is None else cut(gradient)
        for name in dead:
            owners[name].sync_units()
    for tensors in aligned:
        for name, cut in cuts.items():
            if name in tensors:
                tensors[name] = cut(tensors[name])
    for state, key, name in states:
        state[key] = cuts[name](state[key])
    check_in_step(model, copies, optimizers, aligned)
    return cuts


def check_in_step(
    model: nn.Module,
    copies: Iterable[nn.Module] = (),
    optimizers: Iterable[Optimizer] = (),
    aligned: Iterable[Mapping[str, Tensor]] = (),
) -> None:
    """Make sure that everything around a model has the model's tensors and their shapes.

    Args:
        model (nn.Module): The live model, not wrapped.
        copies (Iterable[nn.Module]): Copies of the model (EMA).
        optimizers (Iterable[Optimizer]): Optimizers of the live model.
        aligned (Iterable[Mapping[str, Tensor]]): Masks, latent weights.

    Raises:
        ValueError: If not; the error names the first such tensor.
    """
    shapes = {name: tensor.shape for name, tensor in state_tensors(model)}
    for copy in copies:
        theirs = {name: tensor.shape for name, tensor in state_tensors(copy)}
        for name in sorted(shapes.keys() | theirs.keys()):
            if shapes.get(name) != theirs.get(name):
                raise ValueError(
                    f"'{name}' has shape {_text(shapes.get(name))} in the model and "
                    f'{_text(theirs.get(name))} in its copy: they cannot be shrunk together'
                )
    for tensors in aligned:
        for name, tensor in tensors.items():
            if tensor.shape != shapes.get(name):
                raise ValueError(
                    f"the mask or latent weights of '{name}' have shape {_text(tensor.shape)}, "
                    f'the weight has {_text(shapes.get(name))}'
                )
    ours = set(model.parameters())
    for optimizer in optimizers:
        held = {p for group in optimizer.param_groups for p in group['params']}
        if held - ours:
            raise ValueError(
                f'{type(optimizer).__name__} holds {len(held - ours)} parameters that are not in '
                f'{type(model).__name__} (copies in another precision?): they would not follow '
                'its shapes'
            )
        if orphans := optimizer.state.keys() - held:
            raise ValueError(
                f'{type(optimizer).__name__} keeps state for {len(orphans)} parameters that it '
                'does not optimize'
            )


def _text(shape: torch.Size | None) -> str:
    return 'none' if shape is None else str(tuple(shape))


def _check_shared(model: nn.Module, cuts: Mapping[str, Cut]) -> None:
    """Refuse to cut a parameter that goes by several names: other users want its full shape."""
    names: dict[Tensor, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        other = names.setdefault(parameter, name)
        if other != name and {name, other} & cuts.keys():
            raise ValueError(
                f"'{name}' and '{other}' are one parameter: shared units cannot be removed"
            )


def _plan_state(
    optimizers: Iterable[Optimizer], names: Mapping[Tensor, str]
) -> list[tuple[dict[str, Tensor], str, str]]:
    """List the optimizer state that has one value per value of a cut parameter.

    Returns:
        list[tuple[dict, str, str]]: State of the parameter, key in it, name of the parameter.
    """
    plan = []
    for optimizer in optimizers:
        for parameter, name in names.items():
            state = optimizer.state.get(parameter, {})
            for key, value in state.items():
                if torch.is_tensor(value) and value.shape == parameter.shape:
                    plan.append((state, key, name))
                    continue
                for tensor in _tensors(value):
                    if tensor.numel() > 1 or tensor.shape == parameter.shape:
                        raise ValueError(
                            f"{type(optimizer).__name__} keeps '{key}' of shape "
                            f'{tuple(tensor.shape)}{"" if tensor is value else " in a container"} '
                            f"for '{name}' of shape {tuple(parameter.shape)}: it cannot be cut; "
                            'use an optimizer whose state is tensors of the shape of its '
                            'parameters'
                        )
    return plan


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in a value, through nested containers."""
    if torch.is_tensor(value):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (list, tuple, set, deque)):
        for item in value:
            yield from _tensors(item)
