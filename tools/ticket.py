"""Look into tickets, the checkpoints of a search-and-prune training, and make others of them.

python tools/ticket.py show work_dirs/NAME/epoch_430.pth
"""

import argparse
import sys

from rich.console import Console
from ticket_commands import diff, extract, reinit, show

import st_mm  # noqa: F401  # registers the models, applies the runtime fixes
from st_mm.command_line import exit_code


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Look into tickets, compare them, and make other checkpoints of them.',
        epilog='`ticket.py COMMAND --help` has examples.',
    )
    commands = parser.add_subparsers(metavar='COMMAND', required=True)
    for command in (show, diff, extract, reinit):
        command.add(commands)
    return parser.parse_args(arguments)


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse()
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    return exit_code(lambda: options.run(options, console))


if __name__ == '__main__':
    sys.exit(main())
