"""ticket.py diff: what two tickets have in common."""

import argparse

from rich.console import Console

from st_mm.analysis import tables
from st_mm.analysis.compare import compare
from st_mm.command_line import add_config, checkpoint
from st_mm.files import check_output

from .common import add_command, add_json, open_ticket, save_json


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        diff,
        examples=[
            'diff work_dirs/NAME/epoch_100.pth work_dirs/NAME/epoch_430.pth',
            'diff a.pth b.pth --layers --json diff.json',
        ],
        help='what two tickets of one supernet have in common: units and masks',
        description='Compare two tickets of one supernet: the search units that both have kept, '
        'and the masks over the weights of these. Units go by their place in the supernet, '
        'whatever the search has removed since. IoU: kept in both, as a share of kept in either.',
    )
    parser.add_argument(
        'first', type=checkpoint, metavar='A', help='a ticket, a .pth file or a name'
    )
    parser.add_argument('second', type=checkpoint, metavar='B', help='another one')
    parser.add_argument('--layers', action='store_true', help='list the masks of every layer too')
    add_json(parser)
    add_config(parser)


def diff(options: argparse.Namespace, console: Console) -> None:
    """Print the comparison of two tickets."""
    paths = (str(options.first), str(options.second))
    if options.json:
        check_output(options.json, [*paths, options.config], options.force)
    first, second = (open_ticket(path, options) for path in paths)
    found = compare(first.ticket, second.ticket, first.supernet, second.supernet)
    console.print(tables.comparison(found, paths, options.layers))
    if options.json:
        save_json(dict(paths=paths, **found.to_dict()), options.json)
