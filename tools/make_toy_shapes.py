"""Draws a small data set of shapes in the folder layout of ImageNet.

    python tools/make_toy_shapes.py data/toy_shapes

makes 1,400 pictures of 64x64 pixels in ten classes, in seconds and without a download. mmpretrain's
`CustomDataset` reads the result. See `toy_shapes/` for how the pictures come about.
"""

from __future__ import annotations

import argparse
import sys

from rich.console import Console
from toy_data import command
from toy_data.shapes import dataset
from toy_data.shapes.outlines import KINDS


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    return command.parse(
        arguments,
        description='Draw a small data set of shapes, in the folder layout of ImageNet: '
        'SPLIT/CLASS/CLASS_NUMBER.png. The same arguments give the same bytes, with any number of '
        'workers.',
        epilog=f'Classes: {", ".join(KINDS)}; as many pictures of each as of any other. Running '
        'the command again does nothing if the set is complete; a run that fails or is stopped '
        'leaves nothing behind. Exit codes: 0 the set is there, 1 it could not be written, 2 wrong '
        'arguments or a folder that holds something else.',
        images=(1000, 200, 200),
        size=(64, 64),
        noun='pictures',
        others='pictures',
    )


def main() -> int:
    """Runs the command line; returns the exit code."""
    options = parse()
    root = options.out_dir
    request = dataset.Request(
        options.train, options.val, options.test, *options.size, seed=options.seed
    )

    def make(console: Console) -> None:
        if dataset.claim(request, root, options.force):
            console.print(f'already there: {root}', soft_wrap=True, markup=False)
            return
        total = len(list(request.images()))
        drawing = dataset.write_set(request, root, options.workers)
        for _ in command.progress(drawing, 'drawing shapes', total, console):
            pass
        text = f'{total} pictures of {len(KINDS)} classes in {root}'
        console.print(text, soft_wrap=True, markup=False)

    return command.run(make, root, f'stopped; {root} is as it was')


if __name__ == '__main__':
    sys.exit(main())
