"""Draws a small street-scene data set in the layout of Cityscapes.

    python tools/make_toy_streets.py data/toy_streets

makes 300 images of 128x256 pixels with exact labels, in less than a minute and without a download.
mmseg's `CityscapesDataset` reads the result. See `toy_streets/` for how the pictures come about.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from toy_streets import classes, dataset

SMALLEST, LARGEST = 32, 2048


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


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description='Draw a small street-scene data set with exact labels, in the folder layout of '
        'Cityscapes: leftImg8bit/SPLIT/DISTRICT/*_leftImg8bit.png and '
        'gtFine/SPLIT/DISTRICT/*_gtFine_labelTrainIds.png (trainIds, 255 = ignore). The same '
        'arguments give the same bytes, with any number of workers.',
        epilog='All Cityscapes classes appear but train and motorcycle. Running the command again '
        'does nothing if the set is complete, and starts afresh if it was interrupted. '
        'Exit codes: 0 the set is there, 1 it could not be written, 2 wrong arguments or a folder '
        'that holds something else.',
    )
    whole = {'type': count, 'metavar': 'N'}
    parser.add_argument('out_dir', type=Path, metavar='OUT_DIR', help='new, empty or earlier set')
    parser.add_argument('--train', **whole, default=200, help='training images (%(default)s)')
    parser.add_argument('--val', **whole, default=50, help='validation images (%(default)s)')
    parser.add_argument('--test', **whole, default=50, help='test images (%(default)s)')
    parser.add_argument(
        '--size', type=image_size, default=(128, 256), metavar='HxW',
        help=f'pixels, {SMALLEST} to {LARGEST} each way (128x256); about twice as wide as high '
        'looks best',
    )  # fmt: skip
    parser.add_argument('--seed', **whole, default=0, help='another seed, other streets (0)')
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


def available_cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def draw_all(request: dataset.Request, root: Path, workers: int, console: Console) -> dict:
    """Draws a set behind a progress bar; returns its manifest."""
    pixels = np.zeros(256, np.int64)
    columns = (TextColumn('drawing streets'), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task('', total=len(list(request.images())))
        for counted in dataset.write_set(request, root, workers):
            pixels += counted
            progress.advance(task)
    return dataset.finish(request, root, pixels)


def shares(manifest: dict) -> Table:
    """The share of each class in all pixels."""
    pixels = {int(label): number for label, number in manifest['pixels'].items()}
    total = sum(pixels.values())
    table = Table('trainId', 'class', 'pixel share', title='What the streets are made of')
    table.columns[0].justify = table.columns[2].justify = 'right'
    for label in sorted(pixels):
        known = label != classes.IGNORE
        name = classes.NAMES[label] if known else 'ignore'
        colour = 'rgb({},{},{})'.format(*classes.PALETTE[label]) if known else 'default'
        share = f'{100 * pixels[label] / total:.2f} %'
        table.add_row(str(label), f'[{colour}]█[/] {name}', share)
    return table


def main() -> int:
    """Runs the command line; returns the exit code."""
    options = parse()
    console, errors = Console(), Console(stderr=True, soft_wrap=True, highlight=False)
    root = options.out_dir
    request = dataset.Request(
        options.train, options.val, options.test, *options.size, seed=options.seed
    )
    try:
        manifest = dataset.claim(request, root, options.force)
        if manifest is not None:
            console.print(f'already there: {root}', soft_wrap=True, markup=False)
            return 0
        manifest = draw_all(request, root, options.workers, console)
    except dataset.SetError as error:
        errors.print(f'error: {error}', markup=False)
        return 2
    except OSError as error:
        errors.print(f'error: cannot write {root}: {error}', markup=False)
        return 1
    except KeyboardInterrupt:
        errors.print(f'stopped; {root} is unfinished, the same command draws it again',
                     markup=False)  # fmt: skip
        return 130
    console.print(shares(manifest))
    console.print(f'{len(list(request.images()))} images in {root}', soft_wrap=True, markup=False)
    return 0


if __name__ == '__main__':
    sys.exit(main())
