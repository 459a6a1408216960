"""What the commands of all kinds of sets share: arguments, progress, and exit codes."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from toy_data.request import SPLITS, SetError

SMALLEST, LARGEST = 32, 2048
EXIT_CODES = (
    'Exit codes: 0 the set is there, 1 it could not be written, 2 wrong arguments or a folder that '
    'holds something else.'
)
NAMES = dict(train='training', val='validation', test='test')


def count(text: str) -> int:
    """Read a whole number of images, seeds: 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number, 0 or more')
    return int(text)


def cores(text: str) -> int:
    """Read a number of processes: 1 or more."""
    number = count(text)
    if number == 0:
        raise argparse.ArgumentTypeError('at least one process has to do the work')
    return number


def image_size(text: str) -> tuple[int, int]:
    """Read HEIGHTxWIDTH -> (height, width)."""
    match = re.fullmatch(r'(\d+)x(\d+)', text)
    if match is None:
        raise argparse.ArgumentTypeError(f'{text!r} is not HEIGHTxWIDTH, e.g. 128x256')
    height, width = int(match[1]), int(match[2])
    if min(height, width) < SMALLEST or max(height, width) > LARGEST:
        raise argparse.ArgumentTypeError(
            f'{text!r}: height and width have to lie between {SMALLEST} and {LARGEST} pixels'
        )
    return height, width


def available_cores() -> int:
    """Count the cores that this process may use, which can be fewer than the machine has."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def add(
    commands: argparse._SubParsersAction,
    name: str,
    make: Callable[[argparse.Namespace, Console], None],
    *,
    description: str,
    epilog: str,
    images: tuple[int, int, int],
    size: tuple[int, int],
    noun: str,
    others: str,
    stopped: str,
    advice: str = '',
) -> None:
    """Add the command of a kind of set.

    Args:
        commands (argparse._SubParsersAction): Where it belongs.
        name (str): The kind.
        make (Callable): Does the work, and tells the console of it.
        description (str): What the help says first.
        epilog (str): What it says last, before the exit codes.
        images (tuple[int, int, int]): How many images train, val and test have by default.
        size (tuple[int, int]): Default height and width.
        noun (str): What the images are called.
        others (str): What another seed gives.
        stopped (str): What to say when it is interrupted; ``{root}`` is the folder of the set.
        advice (str): What there is to know about the size. Defaults to nothing.
    """
    summary = description.partition(':')[0].removeprefix('Draw a ')
    parser = commands.add_parser(
        name, help=summary, description=description, epilog=f'{epilog} {EXIT_CODES}'
    )
    whole: dict[str, Any] = {'type': count, 'metavar': 'N'}
    parser.add_argument('out_dir', type=Path, metavar='FOLDER', help='new, empty or earlier set')
    for split, number in zip(SPLITS, images, strict=True):
        text = f'{NAMES[split]} {noun} (%(default)s)'
        parser.add_argument(f'--{split}', **whole, default=number, help=text)
    text = f'pixels, {SMALLEST} to {LARGEST} each way ({size[0]}x{size[1]}){advice}'
    parser.add_argument('--size', type=image_size, default=size, metavar='HxW', help=text)
    parser.add_argument('--seed', **whole, default=0, help=f'another seed, other {others} (0)')
    parser.add_argument(
        '--workers', type=cores, default=available_cores(), metavar='N',
        help='processes that draw (one for each core: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--force', action='store_true', help='replace a toy set that FOLDER holds; nothing else'
    )
    parser.set_defaults(make=make, stopped=stopped)


def progress(
    drawing: Iterable[Any], description: str, total: int, console: Console
) -> Iterator[Any]:
    """Go through what is drawn, and show a progress bar."""
    columns = (TextColumn(description), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console) as bar:
        yield from bar.track(drawing, total)


def run(options: argparse.Namespace) -> int:
    """Make a set; returns the exit code."""
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    root = options.out_dir
    try:
        options.make(options, Console())
    except SetError as error:
        errors.print(f'error: {error}', markup=False)
        return 2
    except OSError as error:
        errors.print(f'error: cannot write {root}: {error}', markup=False)
        return 1
    except KeyboardInterrupt:
        errors.print(options.stopped.format(root=root), markup=False)
        return 130
    return 0
