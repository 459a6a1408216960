"""What the commands share: how they describe themselves, what they read and write."""

import argparse
import io
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from st_mm.analysis.checkpoints import Opened, open_checkpoint
from st_mm.command_line import NOT_RUN, checkpoint
from st_mm.files import write_atomically
from st_mm.prune import Masks, prunable_weights
from st_mm.rewind import read_record

EPILOG = """\
examples:
{examples}

{note}

Exit codes: 0 done, 1 a file could not be written, 2 wrong arguments or a file that is not an mm
checkpoint, contradicts itself, or does not fit the command.
"""


def add_command(
    commands: argparse._SubParsersAction,
    run: Callable[[argparse.Namespace, Console], None],
    examples: list[str],
    help: str,
    description: str,
    note: str = NOT_RUN,
) -> argparse.ArgumentParser:
    """Add the command of a function, under its name."""
    lines = '\n'.join(f'  python tools/ticket.py {example}' for example in examples)
    parser = commands.add_parser(
        run.__name__,
        help=help,
        description=textwrap.fill(description, 95),
        epilog=EPILOG.format(examples=lines, note=textwrap.fill(note, 95)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_source_and_target(parser: argparse.ArgumentParser) -> None:
    """Add SRC, DST and --force."""
    parser.add_argument(
        'source', type=checkpoint, metavar='SRC', help='the ticket, a .pth file or a name'
    )
    parser.add_argument('target', type=Path, metavar='DST', help='the .pth file to write')
    parser.add_argument('--force', action='store_true', help='overwrite DST')


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json and --force."""
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the figures to a file too')
    parser.add_argument('--force', action='store_true', help='overwrite FILE')


def open_ticket(path: Path, options: argparse.Namespace) -> Opened:
    """Open a checkpoint whose record is there, and is that of its weights."""
    opened = open_checkpoint(path, options.config, options.trust)
    ticket = read_record(dict(meta=opened.meta), path)
    ticket.check(opened.model)
    ticket.check_zeros(opened.model.state_dict())
    Masks(prunable_weights(opened.model, frozen=True)).load(ticket.masks, None)
    return opened


def save(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    write_atomically(path, buffer.getvalue())


def save_json(plain: dict[str, Any], path: Path) -> None:
    """Write figures, whole or not at all."""
    write_atomically(path, (json.dumps(plain, indent=2) + '\n').encode())
