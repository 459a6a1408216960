"""Look into tickets, the checkpoints of a search-and-prune training, and make others of them.

python tools/ticket.py show work_dirs/NAME/epoch_430.pth
"""

import argparse
import sys
import warnings

from rich.console import Console
from rich.text import Text
from ticket_commands import diff, extract, reinit, show

import st_mm  # noqa: F401  # registers the models, applies the runtime fixes
from st_mm.printable import printable


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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # what mm says while it builds a model
            options.run(options, console)
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        return fail(error, 2)
    except OSError as error:
        return fail(error, 1)
    return 0


def fail(error: Exception, code: int) -> int:
    """Print the first line of an error; return the exit code."""
    text = Text.from_ansi(str(error).strip() or type(error).__name__).plain
    print(f'error: {printable(text.splitlines()[0].strip())}', file=sys.stderr)
    return code


if __name__ == '__main__':
    sys.exit(main())
