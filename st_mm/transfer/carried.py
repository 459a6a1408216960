"""What a model carries after it was initialized as a ticket, as a whole or by parts."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from st_mm.ticket import RECORD, Ticket

from .names import renamed


@dataclass(frozen=True)
class Carried:
    """What a model, or a part of it, has taken from a ticket.

    Attributes:
        ticket (Ticket): The record, in the names of the model.
        shared (frozenset[str]): Names of the tensors that were taken.
        latent (list[dict[str, Tensor]], optional): Values of the masked weights, per copy of the
            model; None if the file has none.
    """

    ticket: Ticket
    shared: frozenset[str]
    latent: list[dict[str, Tensor]] | None = None


def carried(model: nn.Module) -> Carried | None:
    """Collect what a model and its parts have taken from tickets.

    Args:
        model (nn.Module): The model, initialized.

    Returns:
        Carried, optional: In the names of the whole model; None if nothing was taken.
    """
    found: dict[str, Carried] = {
        name: vars(module)[RECORD]
        for name, module in model.named_modules()
        if RECORD in vars(module)
    }
    if not found:
        return None
    ticket = Ticket.of_supernet(model)
    shared: set[str] = set()
    copies = max(len(each.latent or ()) for each in found.values())
    latent: list[dict[str, Tensor]] = [{} for _ in range(copies)]
    for place, each in found.items():
        for kind in ('units', 'total', 'masks'):
            entries = getattr(each.ticket, kind).items()
            getattr(ticket, kind).update({renamed(key, '', place): value for key, value in entries})
        shared |= {renamed(name, '', place) for name in each.shared}
        for index, values in enumerate(latent):
            for name in each.ticket.masks:
                values[renamed(name, '', place)] = _past(each, name, index)
    return Carried(ticket, frozenset(shared), latent or None)


def _past(each: Carried, name: str, index: int) -> Tensor:
    """Latent values of a weight: zeros if its part has none."""
    if each.latent:
        return each.latent[min(index, len(each.latent) - 1)][name]
    return torch.zeros(int((~each.ticket.mask(name)).sum()))
