"""What a model shares with a ticket, and the ticket's record restricted to it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from st_mm.ticket import Ticket
from st_mm.units.loading import COUNTER

from .names import renamed, under

State = Mapping[str, Tensor]
Latent = Sequence[Mapping[str, Tensor]]


@dataclass(frozen=True)
class Part:
    """What one part of a model takes from a ticket.

    Attributes:
        name (str): Name of the part; empty for a module that is initialized by itself.
        source (str, optional): Its name in the ticket; None if it takes nothing.
        taken (Mapping[str, str]): Names in the ticket, by names in the model.
        new (tuple[str, ...]): Names in the model of what the ticket does not give.
        left (tuple[str, ...]): Names in the ticket of what the model has no place for.
    """

    name: str
    source: str | None
    taken: Mapping[str, str]
    new: tuple[str, ...]
    left: tuple[str, ...]

    def origin(self, module: str) -> str:
        """Name in the ticket of a module of this part."""
        return renamed(module, self.name, self.source or '')


@dataclass(frozen=True)
class Transfer:
    """What a model takes from a ticket, part by part.

    Attributes:
        file (str): The ticket, for messages.
        parts (tuple[Part, ...]): Parts of the model, in its order.
        loose (tuple[str, ...]): Names in the ticket that belong to no part of the model.
        supernet (Ticket): The record of the model before anything is taken.
        shapes (Mapping[str, torch.Size]): Shapes of its tensors then, by name.
    """

    file: str
    parts: tuple[Part, ...]
    loose: tuple[str, ...]
    supernet: Ticket
    shapes: Mapping[str, torch.Size]

    @property
    def taken(self) -> dict[str, str]:
        """Names in the ticket, by names in the model."""
        return {name: source for part in self.parts for name, source in part.taken.items()}

    @property
    def whole(self) -> bool:
        """Tell whether everything is taken and nothing is left: the task stays the same."""
        return not self.loose and not any(part.new or part.left for part in self.parts)

    def restrict(self, ticket: Ticket) -> Ticket:
        """Restrict a record to what is shared; what is new has all its units, and no masks.

        Args:
            ticket (Ticket): The record of the ticket, or of another time of the run that drew it.

        Raises:
            ValueError: If the ticket's supernet had other units than the model.
        """
        units, total = dict(self.supernet.units), dict(self.supernet.total)
        for name, origin in self._owners():
            if origin not in ticket.units:
                continue
            theirs = ticket.total.get(origin)
            if theirs != total[name]:
                raise ValueError(
                    f"{self.file}: the supernet of the ticket has {theirs} units in '{origin}', "
                    f"the model has {total[name]} in '{name}': give the model the arguments of the "
                    'supernet that the ticket was drawn from'
                )
            units[name] = {group: list(kept) for group, kept in ticket.units[origin].items()}
        taken = self.taken
        return Ticket(
            units=units,
            total=total,
            masks={name: ticket.masks[s] for name, s in taken.items() if s in ticket.masks},
            versions=dict(self.supernet.versions),
        )

    def weights(self, model: nn.Module, state: State, file: str) -> dict[str, Tensor]:
        """Lay the weights that are shared over a model's own.

        Args:
            model (nn.Module): The model; it is not changed.
            state (Mapping[str, Tensor]): Weights of the ticket, or of another time of its run.
            file (str): Where they come from, for messages.

        Returns:
            dict[str, Tensor]: A whole state dict of the model.

        Raises:
            ValueError: If a tensor is missing.
        """
        for source in self.taken.values():
            if source not in state and not source.endswith(COUNTER):
                raise ValueError(
                    f"{file} has no tensor '{source}', which {self.file} has: take the weights "
                    'from a checkpoint of the run that drew the ticket'
                )
        picked = {name: state[s] for name, s in self.taken.items() if s in state}
        first: dict[Tensor, str] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            if first.setdefault(parameter, name) in picked:
                picked[name] = picked[first[parameter]]  # a tied weight goes by several names
        return {**model.state_dict(), **picked}

    def latent(self, latent: Latent | None, masks: Iterable[str]) -> list[dict[str, Tensor]] | None:
        """Restrict latent weights to the masks that are shared; None if there are none."""
        if latent is None:
            return None
        taken = self.taken
        return [{name: values[taken[name]] for name in masks} for values in latent]

    def _owners(self) -> Iterator[tuple[str, str]]:
        """Owners of units that are taken, and their names in the ticket."""
        for part in self.parts:
            for name in under(part.name, self.supernet.units):
                if under(name, part.taken):
                    yield name, part.origin(name)
