"""ticket.py extract: the ticket alone, without what only its training needs."""

import argparse

from rich.console import Console

from st_mm.analysis import tables
from st_mm.files import check_output
from st_mm.rewind import read_record
from st_mm.tensors import check_finite
from st_mm.ticket import load_checkpoint, plain_state

from .common import add_command, add_source_and_target, save


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        extract,
        examples=[
            'extract work_dirs/NAME/epoch_430.pth ticket.pth',
        ],
        note='To go on with a training, keep its own checkpoint: the slim one has no optimizer.',
        help='a slim file: weights, masks and config, without optimizer and schedulers',
        description='Write the weights of a ticket with its record, config and classes, as the '
        'training saved them for tests (those of the EMA, if it has one). Optimizer, schedulers, '
        'the other set of weights, latent weights and logs are left out.',
    )
    add_source_and_target(parser)


def extract(options: argparse.Namespace, console: Console) -> None:
    """Write the slim file and print both sizes."""
    check_output(options.target, [options.source], options.force)
    checkpoint = load_checkpoint(options.source)
    before = options.source.stat().st_size
    ticket, weights = read_record(checkpoint, options.source), plain_state(checkpoint)
    check_finite(weights, str(options.source))
    ticket.check_zeros(weights)
    ticket.check_counts(weights)
    save(dict(meta=checkpoint['meta'], state_dict=weights), options.target)
    after = options.target.stat().st_size
    console.print(tables.sizes([(options.source, before), (options.target, after)]))
