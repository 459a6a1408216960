"""The ticket: what the search kept and the pruning masked, as one record of plain types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from torch import Tensor, nn

from st_mm.printable import printable
from st_mm.prune.masks import unpack
from st_mm.units.owner import find_owners
from st_mm.version import __version__

from .validation import check_masked, check_record

KEY = 'ticket'  # where the record lives in the meta of a checkpoint
RECORD = 'ticket_record'  # attribute of a module that was initialized as a ticket
LATENT = 'latent_weights'  # entry of a checkpoint: values of the masked weights, live and EMA
THRESHOLDS = 'soft_thresholds'  # of soft masks; the live model's latent values are of all weights
MASKING = ('prune', 'refit', 'reactivate')  # events after which masks hold, or do not any more
LIBRARIES = ('torch', 'mmengine', 'mmcv', 'mmsegmentation', 'mmpose', 'mmpretrain')

Units = dict[str, dict[str, list[int]]]


@dataclass
class Ticket:
    """Record of a ticket, in the ``meta`` of its checkpoint.

    Attributes:
        units (dict): Units kept, by owner and group (kernel): their indices in the original
            supernet, in rising order.
        total (dict): Units of the original supernet, by owner and group.
        masks (dict): Shape and packed bits (uint8) by name of the masked weight.
        config (dict): Arguments of the hooks that drew the ticket, by hook.
        events (list[dict]): What happened when: kind, unit of time, time, and figures.
        versions (dict): Versions of st_mm and of the libraries.
        removals (list[dict]): Units that went, as ``units``, a dict for each search step or reaping
            that removed some; older versions did not note them.
    """

    units: Units = field(default_factory=dict)
    total: dict[str, dict[str, int]] = field(default_factory=dict)
    masks: dict[str, dict[str, Any]] = field(default_factory=dict)
    config: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    removals: list[Units] = field(default_factory=list)

    @classmethod
    def of_supernet(cls, model: nn.Module) -> 'Ticket':
        """Start the record of a model in which every unit is alive."""
        total = {name: owner.unit_groups() for name, owner in find_owners(model).items()}
        units = {
            name: {group: list(range(count)) for group, count in groups.items()}
            for name, groups in total.items()
        }
        return cls(units=units, total=total, versions=library_versions())

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> 'Ticket | None':
        """Read the record from the ``meta`` of a checkpoint; None if it has none.

        Raises:
            ValueError: If the record has entries that this version does not know, or is damaged.
        """
        record = meta.get(KEY)
        if record is None:
            return None
        if not isinstance(record, dict):
            raise ValueError(
                f'the ticket record is a {type(record).__name__}, not a dict: the file was edited '
                'or damaged'
            )
        if unknown := sorted(record.keys() - cls.__dataclass_fields__.keys(), key=str):
            versions = record.get('versions')
            drawn = versions.get('st_mm', 'unknown') if isinstance(versions, dict) else 'unknown'
            names = printable(', '.join(map(str, unknown)))
            raise ValueError(
                f'the ticket record has entries that st_mm {__version__} does not know '
                f'({names}): it was written by version {printable(drawn)}, update st_mm'
            )
        check_record(record)
        return cls(**record)

    def to_meta(self) -> dict[str, Any]:
        """Return the record in plain types and tensors, for ``weights_only`` loading."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def remove(self, dead: Mapping[str, Tensor]) -> None:
        """Remove units from the record.

        Args:
            dead (Mapping[str, Tensor]): (units alive,) bool by owner, True for what goes.

        Raises:
            ValueError: If a mask does not fit the record; nothing is changed.
        """
        for name, mask in dead.items():
            alive = sum(len(indices) for indices in self.units.get(name, {}).values())
            if name not in self.units or mask.shape != (alive,):
                raise ValueError(
                    f"the ticket record has {alive} units for '{name}', but the mask of dead units "
                    f'has shape {tuple(mask.shape)}'
                )
        gone: Units = {}
        for name, mask in dead.items():
            flags = iter(mask.tolist())
            marked = {
                group: [(index, next(flags)) for index in indices]
                for group, indices in self.units[name].items()
            }
            self.units[name] = {
                group: [index for index, dies in pairs if not dies]
                for group, pairs in marked.items()
            }
            if mask.any():
                gone[name] = {
                    group: [index for index, dies in pairs if dies]
                    for group, pairs in marked.items()
                }
        if gone:
            self.removals.append(gone)

    def check(self, model: nn.Module) -> None:
        """Compare the record with the units of a model.

        Args:
            model (nn.Module): A model that the ticket's weights are loaded into.

        Raises:
            ValueError: Naming the first owner that differs.
        """
        owners = find_owners(model)
        for name in sorted(owners.keys() | self.units.keys()):
            ours = owners[name].unit_groups() if name in owners else None
            counts = None
            if name in self.units:
                counts = {group: len(indices) for group, indices in self.units[name].items()}
            if ours != counts:
                raise ValueError(
                    f"the ticket record says {counts} units for '{name}', the weights say {ours}: "
                    'the checkpoint was edited, or belongs to another model'
                )

    def masks_hold(self) -> bool:
        """Whether the masks of a prune hold: there was one, and none has been freed since."""
        kinds = [event.get('kind') for event in self.events]
        masking = [kind for kind in kinds if kind in MASKING]
        return bool(masking) and masking[-1] != 'reactivate'

    def check_zeros(self, state: Mapping[str, Tensor], where: str = 'the weights') -> None:
        """Compare the masks with weights: what is masked is zero there.

        Args:
            state (Mapping[str, Tensor]): Weights by name.
            where (str): What they are, for the error. Defaults to ``'the weights'``.

        Raises:
            ValueError: Naming the first weight that differs.
        """
        check_masked(self.masks, state, where)

    def check_counts(self, state: Mapping[str, Tensor]) -> None:
        """Compare the units of kernels with weights, where no model is built.

        Args:
            state (Mapping[str, Tensor]): Weights by name.

        Raises:
            ValueError: Naming the first kernel that has another number of filters.
        """
        for name, groups in self.units.items():
            for group, indices in groups.items():
                filters = state.get(f'{name}.depthwise.{group}.weight')
                if filters is not None and filters.shape[:1] != (len(indices),):
                    raise ValueError(
                        f"the ticket record says {len(indices)} units for {group} of '{name}', the "
                        f'weights have the shape {tuple(filters.shape)}: the file was edited'
                    )

    def mask(self, name: str) -> Tensor:
        """Unpack the mask of a weight: bool, True for what stays."""
        return unpack(self.masks[name]['bits'], self.masks[name]['shape'])


def library_versions() -> dict[str, str]:
    """Collect the versions of st_mm and of the installed libraries that it uses."""
    found = dict(st_mm=__version__)
    for name in LIBRARIES:
        for distribution in (name, f'{name}-lite', f'onedl-{name}'):
            try:
                found[name] = version(distribution)
                break
            except PackageNotFoundError:
                continue
    return found
