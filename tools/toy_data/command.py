"""The command line of a generator: its arguments, its progress, and its exit codes."""

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
NAMES = dict(train='training', val='validation', test='test')


def count(text: str) -> int:
    """A whole number of images, seeds: 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number, 0 or more')
    return int(text)


def cores(text: str) -> int:
    """A number of processes: 1 or more."""
    number = count(text)
    if number == 0:
        raise argparse.ArgumentTypeError('at least one process has to do the work')
    return number


def image_size(text: str) -> tuple[int, int]:
    """HEIGHTxWIDTH -> (height, width)."""
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
    """Cores that this process may use, which can be fewer than the machine has."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parse(
    arguments: list[str] | None,
    description: str,
    epilog: str,
    images: tuple[int, int, int],
    size: tuple[int, int],
    noun: str,
    others: str,
    advice: str = '',
) -> argparse.Namespace:
    """Reads the command line of a generator.

    Args:
        arguments (list[str] | None): Its words; those of the process if None.
        description (str): What the help says first.
        epilog (str): What it says last.
        images (tuple[int, int, int]): How many images train, val and test have by default.
        size (tuple[int, int]): Default height and width.
        noun (str): What the images are called.
        others (str): What another seed gives.
        advice (str): What there is to know about the size. Defaults to nothing.
    """
    parser = argparse.ArgumentParser(description=description, epilog=epilog)
    whole: dict[str, Any] = {'type': count, 'metavar': 'N'}
    parser.add_argument('out_dir', type=Path, metavar='OUT_DIR', help='new, empty or earlier set')
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
        '--force', action='store_true', help='replace a toy set that OUT_DIR holds; nothing else'
    )
    options = parser.parse_args(arguments)
    if options.train + options.val + options.test == 0:
        parser.error('--train, --val and --test are all 0: nothing to draw')
    return options


def progress(
    drawing: Iterable[Any], description: str, total: int, console: Console
) -> Iterator[Any]:
    """Goes through what is drawn behind a progress bar."""
    columns = (TextColumn(description), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console) as bar:
        yield from bar.track(drawing, total)


def run(make: Callable[[Console], None], root: Path, stopped: str) -> int:
    """Makes a set; returns the exit code.

    Args:
        make (Callable): Does the work, and tells the console of it.
        root (Path): Folder of the set.
        stopped (str): What to say when it is interrupted.
    """
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        make(Console())
    except SetError as error:
        errors.print(f'error: {error}', markup=False)
        return 2
    except OSError as error:
        errors.print(f'error: cannot write {root}: {error}', markup=False)
        return 1
    except KeyboardInterrupt:
        errors.print(stopped, markup=False)
        return 130
    return 0
