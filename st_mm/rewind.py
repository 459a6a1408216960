"""Rewinding: a ticket's architecture with other weights (paper Appendices B and C)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import Tensor, nn

from .search.shrink import shrink
from .ticket import RECORD, Ticket, Units, load_checkpoint, plain_state


def surplus_units(ticket: Ticket, present: Units) -> dict[str, Tensor]:
    """Mark the units that a ticket does not have.

    Args:
        ticket (Ticket): The ticket.
        present (dict): Original indices of the units a model has, by owner and group.

    Returns:
        dict[str, Tensor]: (units present,) bool by owner, True for what the ticket lacks.

    Raises:
        ValueError: If the ticket has a unit or an owner that is not present.
    """
    surplus = {}
    for name in sorted(ticket.units.keys() | present.keys()):
        ours, theirs = (
            {(group, unit) for group, units in found.get(name, {}).items() for unit in units}
            for found in (ticket.units, present)
        )
        if lost := ours - theirs:
            raise ValueError(
                f"the ticket has {len(lost)} units of '{name}' that are not there to start from: "
                'the weights belong to another supernet, or to a later time of the search'
            )
        if name not in ticket.units:
            raise ValueError(
                f"the ticket knows nothing of '{name}', which owns units here: it was drawn from "
                'another supernet'
            )
        order = [(group, unit) for group, units in present[name].items() for unit in units]
        surplus[name] = torch.tensor([unit not in ours for unit in order], dtype=torch.bool)
    return surplus


def rewind(model: nn.Module, ticket: Ticket, weights: str | Path) -> None:
    """Give a model a ticket's architecture, and weights of another time.

    Args:
        model (nn.Module): The supernet, freshly initialized; changed in place.
        ticket (Ticket): Which of its units stay.
        weights (str | Path): ``'random'`` keeps the model's own (RR-Init); else a checkpoint of the
            same run, from before training (LT-Init), early (ELT) or late (LLT).

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If the weights do not have all the units of the ticket.
    """
    source = Ticket.of_supernet(model)
    if weights != 'random':
        checkpoint = load_checkpoint(weights)
        source = Ticket.from_meta(checkpoint['meta']) or source
        model.load_state_dict(plain_state(checkpoint))
    shrink(model, surplus_units(ticket, source.units), absorb=False)
    ticket.check(model)


@WEIGHT_INITIALIZERS.register_module(name='Ticket')
class TicketInit:
    """Initialize a whole model as a ticket: ``init_cfg=dict(type='Ticket', checkpoint=...)``.

    The ticket's record goes on with the model, so that ``FixedMaskHook`` holds its masks. The files
    are read whenever a training starts, a resumed one too, as those of ``Pretrained`` are.

    Args:
        checkpoint (str): The ticket.
        weights (str): ``'trained'`` for the ticket's own, else as in :func:`rewind`: ``'random'``
            or a checkpoint of the run that drew it. Defaults to ``'trained'``.
    """

    def __init__(self, checkpoint: str, weights: str = 'trained') -> None:
        self.checkpoint = checkpoint
        self.weights = weights

    def __call__(self, module: nn.Module) -> None:
        """Initialize the module; its children first, and for good."""
        ticket = read_ticket(self.checkpoint)
        children: Iterable[Any] = module.children()
        for child in children:
            if hasattr(child, 'init_weights'):
                child.init_weights()
                child.is_init = True
        weights = self.checkpoint if self.weights == 'trained' else self.weights
        rewind(module, ticket, weights)
        setattr(module, RECORD, ticket)

    def _get_init_info(self) -> str:
        """What mmengine writes into its log of initialized parameters."""
        return f'TicketInit: {self.weights} weights in the units of {self.checkpoint}'


def read_ticket(path: str | Path) -> Ticket:
    """Read the record of a ticket.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint, or has no record.
    """
    ticket = Ticket.from_meta(load_checkpoint(path)['meta'])
    if ticket is None:
        raise ValueError(
            f'{path} has no ticket record: it was not trained with hooks of st_mm, or lost its meta'
        )
    return ticket
