"""Looks into tickets: the checkpoints that a search-and-prune training leaves.

python tools/ticket.py show work_dirs/NAME/epoch_430.pth
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

from rich.console import Console
from rich.text import Text

import st_mm  # noqa: F401  # registers the models, applies the runtime fixes
from st_mm.analysis import tables
from st_mm.analysis.checkpoints import find_input_shape, open_checkpoint
from st_mm.analysis.report import report
from st_mm.files import write_atomically

SHOW_EXAMPLES = """\
examples:
  python tools/ticket.py show work_dirs/NAME/epoch_430.pth
  python tools/ticket.py show ticket.pth --input-shape 3x512x1024
  python tools/ticket.py show ticket.pth --shape 512 1024 --layers --json ticket.json

The config in the checkpoint is run as Python: open only files from people you trust.
Exit codes: 0 shown, 1 the JSON file could not be written, 2 wrong arguments or a file that is no
mm checkpoint or contradicts itself.
"""


def input_shape(text: str) -> tuple[int, ...]:
    """3x512x1024 -> (3, 512, 1024)."""
    sizes = text.lower().split('x')
    if len(sizes) != 3 or not all(size.isdecimal() and int(size) for size in sizes):
        raise argparse.ArgumentTypeError(
            f'{text!r} is not CHANNELSxHEIGHTxWIDTH, such as 3x512x1024'
        )
    return tuple(int(size) for size in sizes)


def side(text: str) -> int:
    """A number of pixels: 1 or more."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'{text!r} is not a number of pixels')
    return int(text)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description='Look into tickets.',
        epilog='`ticket.py COMMAND --help` has examples.',
    )
    commands = parser.add_subparsers(metavar='COMMAND', required=True)
    add_show(commands)
    return parser.parse_args(arguments)


def add_show(commands: argparse._SubParsersAction) -> None:
    """Adds the command `show`."""
    parser = commands.add_parser(
        'show',
        help='what a checkpoint has kept: units, parameters, density, MACs',
        description='Show where a checkpoint comes from and what search and pruning have left of '
        'its supernet. Works for any mm checkpoint: as trained, as published, of a stock model.',
        epilog=SHOW_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('checkpoint', type=Path, metavar='CKPT', help='a .pth file')
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        '--input-shape', type=input_shape, metavar='CxHxW',
        help="picture that MACs are counted for (the search's, else that of training)",
    )  # fmt: skip
    sizes.add_argument(
        '--shape', type=side, nargs=2, metavar=('H', 'W'), help='the same, for 3 channels'
    )
    parser.add_argument('--layers', action='store_true', help='list every layer as well')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the figures to a file too')
    parser.set_defaults(run=show)


def show(options: argparse.Namespace, console: Console) -> None:
    """Prints the report over a checkpoint."""
    opened = open_checkpoint(options.checkpoint)
    shape = (3, *options.shape) if options.shape else options.input_shape
    shape = shape or find_input_shape(opened.config, opened.ticket)
    found = report(opened.supernet, opened.model, opened.ticket, shape)
    console.print(tables.header(opened.facts, opened.ticket))
    console.print()
    console.print(tables.blocks(found))
    if options.layers:
        console.print(tables.layers(found.layers))
    console.print(tables.summary(found))
    if options.json:
        plain = dict(facts=vars(opened.facts), **found.to_dict())
        write_atomically(options.json, (json.dumps(plain, indent=2) + '\n').encode())


def main() -> int:
    """Runs the command line; returns the exit code."""
    options = parse()
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # what mm says while it builds a model
            options.run(options, console)
    except (ValueError, FileNotFoundError) as error:
        return fail(error, 2)
    except OSError as error:
        return fail(error, 1)
    return 0


def fail(error: Exception, code: int) -> int:
    """Prints the first line of an error; returns the exit code."""
    text = Text.from_ansi(str(error).strip() or type(error).__name__).plain
    first = text.splitlines()[0].strip()
    print(f'error: {first}', file=sys.stderr)
    return code


if __name__ == '__main__':
    sys.exit(main())
