"""What a module that owns search units offers: the protocol, and the slices behind it."""

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


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
    """A module whose units can be searched (paper Section 3.1).

    Any module that offers these members takes part in the search; nothing is registered.

    Attributes:
        unit_bn (nn.BatchNorm2d): The norm whose scale is the importance of the units, one
            channel per unit.
    """

    unit_bn: nn.BatchNorm2d

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


def check_norm(norm: nn.Module, norm_cfg: object) -> None:
    """Refuse a norm whose scale cannot be the importance of a unit.

    Raises:
        ValueError: If it is no batch norm, has no scale, or keeps no statistics.
    """
    if not isinstance(norm, _BatchNorm) or not norm.affine or not norm.track_running_stats:
        raise ValueError(
            'norm_cfg must be a batch norm (BN, SyncBN) with scale and running statistics, got '
            f'{norm_cfg}'
        )
