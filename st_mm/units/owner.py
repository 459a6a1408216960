"""What a module that owns search units offers: the protocol, and the slices behind it."""

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
    """A module whose units can be searched (paper Section 3.1), or what speaks for one.

    Any module that offers these members takes part in the search; nothing is registered. For a
    class that others wrote, an entry of :data:`ADAPTERS` makes an object that offers them.

    Attributes:
        least_units (int): Units without which the module does not run; 0 if it runs empty.
    """

    least_units: int

    @property
    def unit_bn(self) -> nn.BatchNorm2d:
        """The norm whose scale is the importance of the units, one channel per unit."""
        ...

    def unit_groups(self) -> dict[str, int]:
        """Number of units alive per group (kernel, ...), in the order of the units."""
        ...

    def unit_slices(self) -> list[UnitSlice]:
        """Every tensor that shrinks with the units."""
        ...

    def unit_macs(self, input_size: tuple[int, int]) -> Tensor:
        """MACs that removing each unit alone would save, at an input of (height, width)."""
        ...

    def saved_macs(self, input_size: tuple[int, int], dead: Tensor) -> float:
        """MACs that removing the dead units (bool mask) together saves."""
        ...

    def absorb_units(self, dead: Tensor) -> None:
        """Move what the dead units (bool mask) add in eval mode into what follows them."""
        ...

    def sync_units(self) -> None:
        """Bring plain attributes (``groups``, ``num_features``, ...) in line with the tensors."""
        ...

    def widths_in(self, state_dict: StateDict, prefix: str) -> Widths:
        """Units per group that a state dict has, for the keys behind ``prefix``.

        The present ones where it has no such keys. Raises RuntimeError where it has more than
        the module's config gives it.
        """
        ...


Adapter = Callable[[nn.Module], UnitOwner | None]

# By full name of a class, so that nothing is imported for its sake; None where an instance has no
# units after all. Subclasses are included that keep the forward pass.
ADAPTERS: dict[str, Adapter] = {}


def owner_of(module: nn.Module) -> UnitOwner | None:
    """Return what owns the search units of just this module: itself, or an adapter; else None."""
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
    """Whether a norm's scale can be the importance of a unit."""
    return isinstance(norm, _BatchNorm) and norm.affine and norm.track_running_stats


def check_norm(norm: nn.Module, norm_cfg: object) -> None:
    """Refuse a norm whose scale cannot be the importance of a unit.

    Raises:
        ValueError: If it is no batch norm, has no scale, or keeps no statistics.
    """
    if not measures_importance(norm):
        raise ValueError(
            'norm_cfg must be a batch norm (BN, SyncBN) with scale and running statistics, got '
            f'{norm_cfg}'
        )
