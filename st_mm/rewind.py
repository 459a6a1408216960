"""Rewinding: a ticket's architecture with other weights (paper Appendices B and C)."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.logging import print_log
from mmengine.model import BaseModel, initialize
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import Tensor, nn

from .arguments import names
from .hub import weights_or_path
from .search.shrink import shrink
from .ticket import LATENT, RECORD, THRESHOLDS, Ticket, Units, load_checkpoint, plain_state
from .ticket.validation import check_latent
from .transfer import Carried, Transfer, match, report

WORDS = ('trained', 'random')  # which weights, in place of a checkpoint
AGAIN = 1_000_003  # far from the seeds that people number their runs with


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


def rewind(
    model: nn.Module, ticket: Ticket, weights: str | Path, shared: Transfer | None = None
) -> None:
    """Give a model a ticket's architecture, and weights of this or of another time.

    Args:
        model (nn.Module): The supernet, freshly initialized; changed in place.
        ticket (Ticket): Which of its units stay.
        weights (str | Path): ``'random'`` keeps the model's own (RR-Init); else a checkpoint of the
            same run, from before training (LT-Init), early (ELT) or late (LLT).
        shared (Transfer, optional): What the model shares with that run, where it is another
            model. Defaults to None: everything.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If the weights do not have all the units of the ticket.
    """
    source = Ticket.of_supernet(model)
    if weights != 'random':
        checkpoint = load_checkpoint(weights)
        record, state = Ticket.from_meta(checkpoint['meta']), plain_state(checkpoint)
        if shared:
            record = shared.restrict(record) if record else None
            state = shared.weights(model, state, str(weights))
        source = record or source
        model.load_state_dict(state)
    shrink(model, surplus_units(ticket, source.units), absorb=False)
    ticket.check(model)


@WEIGHT_INITIALIZERS.register_module(name='Ticket')
class TicketInit:
    """Initialize a model, or a part of it, as a ticket: ``init_cfg=dict(type='Ticket', ...)``.

    In a model of another task or data set it takes what they share (:func:`~st_mm.transfer.match`),
    and says so in a table. The model keeps what it takes, so that ``FixedMaskHook`` holds
    its masks. The files are read whenever a training starts, a resumed one too, as those of
    ``Pretrained`` are.

    Args:
        checkpoint (str): The ticket, as a file or as ``st_mm://NAME.pth``.
        weights (str): ``'trained'`` for the ticket's own, ``'random'`` for fresh ones, or a
            checkpoint of the run that drew it, as in :func:`rewind`. Fresh ones are drawn again
            after the model is built, from other numbers than the seed of the run gives: where both
            runs have one seed, the ticket's first weights would come out. Defaults to
            ``'trained'``.
        prefix (str | Mapping[str, str], optional): Name in the ticket of the backbone, or of each
            part by its name in the model. Defaults to None: it is found.
        new (Sequence[str]): Names or shell patterns of what starts new, such as ``['neck']``.
            Defaults to none.

    Raises:
        ValueError: If the ticket does not fit, see :func:`~st_mm.transfer.match`; or if no weights
            of its name ship with st_mm.
    """

    def __init__(
        self,
        checkpoint: str,
        weights: str = 'trained',
        prefix: str | Mapping[str, str] | None = None,
        new: Sequence[str] = (),
    ) -> None:
        self.checkpoint = _path('checkpoint', checkpoint)
        self.weights = _path('weights', weights)
        self.prefix = prefix
        self.new = names('new', new)
        parts = list(prefix.items()) if isinstance(prefix, Mapping) else [(prefix, prefix)]
        if prefix is not None and not all(isinstance(n, str) for pair in parts for n in pair):
            raise ValueError(
                f'prefix must be a name, or a dict of names by names of the model, got {prefix!r}'
            )

    def __call__(self, module: nn.Module) -> None:
        """Initialize the module; its children first, and for good."""
        if self.weights == 'random' and _initialized_by_it_alone(module):
            raise ValueError(
                f"init_cfg of {type(module).__name__} has type='Ticket' in place of the module's "
                "own, so that weights='random' has nothing to draw from: give it to the whole "
                "model, or a list, [dict(type='...'), dict(type='Ticket', ...)]"
            )
        checkpoint = load_checkpoint(self.checkpoint)
        record, state = read_record(checkpoint, self.checkpoint), plain_state(checkpoint)
        if LATENT in checkpoint:
            check_latent(checkpoint[LATENT], record.masks, checkpoint.get(THRESHOLDS))
        if self.weights == 'random':
            draw_again(module)
        else:
            _initialize_children(module)
        shared = match(module, state, self.checkpoint, self.prefix, self.new)
        ticket = shared.restrict(record)
        trained = self.weights == 'trained'
        rewind(module, ticket, self.checkpoint if trained else self.weights, shared)
        latent = shared.latent(checkpoint.get(LATENT), ticket.masks) if trained else None
        setattr(module, RECORD, Carried(ticket, frozenset(shared.taken), latent))
        print_log(report(shared, ticket, state), logger='current')

    def _get_init_info(self) -> str:
        """What mmengine writes into its log of initialized parameters."""
        return f'TicketInit: {self.weights} weights in the units of {self.checkpoint}'


def draw_again(module: nn.Module) -> None:
    """Initialize a module from other numbers than the seed gives, which go on as they were.

    Args:
        module (nn.Module): The module; changed in place.
    """
    numbers = torch.get_rng_state()
    torch.default_generator.manual_seed(torch.initial_seed() + AGAIN)
    for part in module.modules():
        for name in ('reset_parameters', '_reset_parameters'):  # the latter of attention
            if callable(reset := getattr(part, name, None)):
                reset()
        if isinstance(part, ConvModule):  # initializes itself as it is built
            part.init_weights()
    own = getattr(module, 'init_cfg', None)
    if isinstance(own, list):  # this one among others
        initialize(
            module,
            [entry for entry in own if WEIGHT_INITIALIZERS.get(entry['type']) is not TicketInit],
        )
    _initialize_children(module)
    torch.set_rng_state(numbers)


def _initialize_children(module: nn.Module) -> None:
    children: Iterable[Any] = module.children()
    for child in children:
        if hasattr(child, 'init_weights'):
            child.init_weights()
            child.is_init = True


def _path(name: str, value: Any) -> str:
    """Check a path, or a word in its place; find what ships with st_mm, but not for a word."""
    if not (isinstance(value, str | Path) and str(value)):
        raise ValueError(f'{name} must be the path of a checkpoint, got {value!r}')
    return str(value) if value in WORDS else weights_or_path(str(value))


def _initialized_by_it_alone(module: nn.Module) -> bool:
    """Check whether the ticket is the only initialization of a part of a model."""
    config = getattr(module, 'init_cfg', None)
    return not isinstance(module, BaseModel) and not (isinstance(config, list) and config[1:])


def read_record(checkpoint: Mapping[str, Any], path: str | Path) -> Ticket:
    """Take the record out of a checkpoint that has been read.

    Raises:
        ValueError: If it has none.
    """
    ticket = Ticket.from_meta(checkpoint['meta'])
    if ticket is None:
        raise ValueError(
            f'{path} has no ticket record: it was not trained with hooks of st_mm, or lost its meta'
        )
    return ticket


def read_ticket(path: str | Path) -> Ticket:
    """Read the record of a ticket.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a checkpoint, or has no record.
    """
    return read_record(load_checkpoint(path), path)
