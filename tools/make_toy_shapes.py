"""Draws a small data set of shapes in the folder layout of ImageNet.

    python tools/make_toy_shapes.py data/toy_shapes

makes 1,400 pictures of 64x64 pixels in ten classes, in seconds and without a download. mmpretrain's
`CustomDataset` reads the result. See `toy_shapes/` for how the pictures come about.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from make_toy_streets import LARGEST, SMALLEST, available_cores, cores, count, image_size
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from toy_shapes import dataset
from toy_shapes.outlines import KINDS


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description='Draw a small data set of shapes, in the folder layout of ImageNet: '
        'SPLIT/CLASS/CLASS_NUMBER.png. The same arguments give the same bytes, with any number of '
        'workers.',
        epilog=f'Classes: {", ".join(KINDS)}; as many pictures of each as of any other. Running '
        'the command again does nothing if the set is complete; a run that fails or is stopped '
        'leaves nothing behind. Exit codes: 0 the set is there, 1 it could not be written, 2 wrong '
        'arguments or a folder that holds something else.',
    )
    whole = {'type': count, 'metavar': 'N'}
    parser.add_argument('out_dir', type=Path, metavar='OUT_DIR', help='new, empty or earlier set')
    parser.add_argument('--train', **whole, default=1000, help='training pictures (%(default)s)')
    parser.add_argument('--val', **whole, default=200, help='validation pictures (%(default)s)')
    parser.add_argument('--test', **whole, default=200, help='test pictures (%(default)s)')
    parser.add_argument(
        '--size', type=image_size, default=(64, 64), metavar='HxW',
        help=f'pixels, {SMALLEST} to {LARGEST} each way (64x64)',
    )  # fmt: skip
    parser.add_argument('--seed', **whole, default=0, help='another seed, other pictures (0)')
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


def main() -> int:
    """Runs the command line; returns the exit code."""
    options = parse()
    console, errors = Console(), Console(stderr=True, soft_wrap=True, highlight=False)
    root = options.out_dir
    request = dataset.Request(
        options.train, options.val, options.test, *options.size, seed=options.seed
    )
    total = len(list(request.pictures()))
    columns = (TextColumn('drawing shapes'), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())  # fmt: skip
    try:
        if dataset.claim(request, root, options.force):
            console.print(f'already there: {root}', soft_wrap=True, markup=False)
            return 0
        with Progress(*columns, console=console) as progress:
            task = progress.add_task('', total=total)
            for _ in dataset.write_set(request, root, options.workers):
                progress.advance(task)
    except dataset.SetError as error:
        errors.print(f'error: {error}', markup=False)
        return 2
    except OSError as error:
        errors.print(f'error: cannot write {root}: {error}', markup=False)
        return 1
    except KeyboardInterrupt:
        errors.print(f'stopped; {root} is as it was', markup=False)
        return 130
    console.print(f'{total} pictures of {len(KINDS)} classes in {root}', soft_wrap=True,
                  markup=False)  # fmt: skip
    return 0


if __name__ == '__main__':
    sys.exit(main())
