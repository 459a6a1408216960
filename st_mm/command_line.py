"""What the command lines have in common: the config of a checkpoint, errors and exit codes."""

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from rich.text import Text

from .hub import weights_or_path
from .printable import printable

NOT_RUN = (
    'The config in a checkpoint is Python, which is read here and not run. One that is more than '
    'plain values is refused: name its file with --config, or run it with --trust if you trust '
    'the sender.'
)


def checkpoint(text: str) -> Path:
    """Read the argument that is a checkpoint.

    Args:
        text (str): A path, or the name of a model whose weights ship with st_mm.

    Returns:
        Path: The file; it may be missing.

    Raises:
        argparse.ArgumentTypeError: If a model is named of which no weights ship.
    """
    try:
        return Path(weights_or_path(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add ``--config`` and ``--trust``: where the config of a checkpoint comes from.

    Args:
        parser (argparse.ArgumentParser): Gets both; they exclude each other.
    """
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument(
        '--config',
        type=Path,
        metavar='FILE',
        help='the config, instead of the one in the checkpoint',
    )
    ways.add_argument(
        '--trust', action='store_true', help='run the config in the checkpoint as Python'
    )


def exit_code(run: Callable[[], None]) -> int:
    """Run a command, and tell the shell how it ended.

    Warnings are not shown: mm gives many while it builds a model. An error is one line on stderr.

    Args:
        run (Callable): The command.

    Returns:
        int: 0 if it is done, 1 if a file could not be written, 2 if something given is wrong.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            run()
    except (ValueError, RuntimeError, FileNotFoundError, FileExistsError) as error:
        return fail(error, 2)
    except OSError as error:
        return fail(error, 1)
    return 0


def fail(error: Exception, code: int) -> int:
    """Print the first line of an error; return the exit code."""
    text = Text.from_ansi(str(error).strip() or type(error).__name__).plain
    print(f'error: {printable(text.splitlines()[0].strip())}', file=sys.stderr)
    return code
