"""A checkpoint of another task or data set, made one of the model that it is loaded into."""

from typing import Any

from torch import nn

from st_mm.ticket import LATENT, Ticket, plain_state

from .carried import Carried
from .matching import match
from .table import report


def take_over(
    model: nn.Module, ticket: Ticket, checkpoint: dict[str, Any], file: str, own_head: bool = False
) -> tuple[Carried, str] | None:
    """Put what a model does not share with a ticket out of its checkpoint, before it is loaded.

    Args:
        model (nn.Module): The model, in the widths of its config.
        ticket (Ticket): The record in the checkpoint.
        checkpoint (dict): The checkpoint; its ``state_dict`` is replaced by one of the model.
        file (str): Where it comes from, for messages.
        own_head (bool): Whether the head starts new in any case. Defaults to False.

    Returns:
        tuple[Carried, str], optional: What is taken, and the table that says so; None if it is
        everything, and the checkpoint is left as it is.

    Raises:
        ValueError: If the ticket does not fit; see :func:`~st_mm.transfer.match`.
    """
    state = plain_state(checkpoint)
    shared = match(model, state, file, own_head=own_head)
    if shared.whole:
        return None
    record = shared.restrict(ticket)
    checkpoint['state_dict'] = shared.weights(model, state, file)
    latent = shared.latent(checkpoint.get(LATENT), record.masks)
    return Carried(record, frozenset(shared.taken), latent), report(shared, record, state)
