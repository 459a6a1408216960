"""The protocol of modules that own search units, and how to find them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

StateDict = Mapping[str, Tensor]
Widths = Mapping[str, int]


class UnitSlice(NamedTuple):
    """A tensor of an owner with one entry per search unit along a dimension.

    Attributes:
        name (str): Name of the parameter or buffer, relative to the owner.
        dim (int): The dimension that runs over the units.
        group (str, optional): The group of units it runs over; None for all units.
    """

    name: str
    dim: int
    group: str | None = None


@runtime_checkable
class UnitOwner(Protocol):
    """A module with search units (paper Section 3.1), or an adapter for one.

    Any module with these members takes part in the search; it needs no registration. For a class
    of another library, an entry of :data:`ADAPTERS` makes an object with these members. An owner
    with a method ``settled_units`` as well lets :class:`~st_mm.hooks.ReapHook` remove units that
    masks have emptied: (units,) float64, what the unit's norm gives where that is a constant which
    :meth:`absorb_units` folds exactly, and nan elsewhere.

    Attributes:
        least_units (int): The smallest number of units with which the module runs; 0 if it runs
            without any.
    """

    least_units: int

    @property
    def unit_bn(self) -> nn.BatchNorm2d:
        """Return the norm whose scale is the importance of the units, one channel per unit."""
        ...

    def unit_groups(self) -> dict[str, int]:
        """Count the units alive per group (such as a kernel), in the order of the units."""
        ...

    def unit_slices(self) -> list[UnitSlice]:
        """List every tensor that shrinks with the units."""
        ...

    def unit_macs(self, input_size: tuple[int, int]) -> Tensor:
        """Compute the MACs that removing each unit alone saves, at an input (height, width)."""
        ...

    def saved_macs(self, input_size: tuple[int, int], dead: Tensor) -> float:
        """Compute the MACs that removing the dead units (bool mask) together saves."""
        ...

    def absorb_units(self, dead: Tensor) -> None:
        """Move what the dead units (bool mask) add in eval mode into the layer after them."""
        ...

    def sync_units(self) -> None:
        """Set plain attributes (``groups``, ``num_features``, ...) to what the tensors say."""
        ...

    def widths_in(self, state_dict: StateDict, prefix: str) -> Widths:
        """Read the units per group from a state dict, from the keys that begin with ``prefix``.

        Return the present numbers if there are no such keys. Raise RuntimeError if there are more
        units than the module's config gives it.
        """
        ...


Adapter = Callable[[nn.Module], UnitOwner | None]

# By the full name of a class, so that its library need not be imported. An adapter returns None
# for an instance without units. Subclasses count as well if they keep the forward pass.
ADAPTERS: dict[str, Adapter] = {}


def owner_of(module: nn.Module) -> UnitOwner | None:
    """Return the owner of this module's own search units: itself or an adapter; else None."""
    if isinstance(module, UnitOwner):
        return module
    adapter = adapter_of(type(module))
    return adapter(module) if adapter else None


def find_owners(model: nn.Module) -> dict[str, UnitOwner]:
    """Find every module that follows the :class:`UnitOwner` protocol, or has an adapter.

    Args:
        model (nn.Module): Any model.

    Returns:
        dict[str, UnitOwner]: Owners by their name in the model, in the order of its modules.
    """
    return {
        name: owner
        for name, module in model.named_modules()
        if (owner := owner_of(module)) is not None
    }


def adapter_of(kind: Any) -> Adapter | None:
    """Look up the adapter of a class."""
    for base in kind.__mro__:
        adapter = ADAPTERS.get(f'{base.__module__}.{base.__qualname__}')
        if adapter and kind.forward is base.forward:
            return adapter
    return None


def measures_importance(norm: object) -> bool:
    """Check whether a norm's scale can be the importance of a unit."""
    return isinstance(norm, _BatchNorm) and norm.affine and norm.track_running_stats


def check_norm(norm: nn.Module, norm_cfg: object) -> None:
    """Refuse a norm whose scale cannot be the importance of a unit.

    Raises:
        ValueError: If it is not a batch norm, has no scale, or keeps no statistics.
    """
    if not measures_importance(norm):
        raise ValueError(
            'norm_cfg must be a batch norm (BN, SyncBN) with scale and running statistics, got '
            f'{norm_cfg}'
        )
