"""Draws a small street-scene data set in the layout of Cityscapes.

    python tools/make_toy_streets.py data/toy_streets

makes 300 images of 128x256 pixels with exact labels, in less than a minute and without a download.
mmseg's `CityscapesDataset` reads the result. See `toy_streets/` for how the pictures come about.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from toy_data import command
from toy_data.streets import classes, dataset


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    return command.parse(
        arguments,
        description='Draw a small street-scene data set with exact labels, in the folder layout of '
        'Cityscapes: leftImg8bit/SPLIT/DISTRICT/*_leftImg8bit.png and '
        'gtFine/SPLIT/DISTRICT/*_gtFine_labelTrainIds.png (trainIds, 255 = ignore). The same '
        'arguments give the same bytes, with any number of workers.',
        epilog='All Cityscapes classes appear but train and motorcycle. Running the command again '
        'does nothing if the set is complete, and starts afresh if it was interrupted. '
        'Exit codes: 0 the set is there, 1 it could not be written, 2 wrong arguments or a folder '
        'that holds something else.',
        images=(200, 50, 50),
        size=(128, 256),
        noun='images',
        others='streets',
        advice='; about twice as wide as high looks best',
    )


def draw_all(request: dataset.Request, root: Path, workers: int, console: Console) -> dict:
    """Draws a set behind a progress bar; returns its manifest."""
    pixels = np.zeros(256, np.int64)
    drawing = dataset.write_set(request, root, workers)
    for counted in command.progress(
        drawing, 'drawing streets', len(list(request.images())), console
    ):
        pixels += counted
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
    root = options.out_dir
    request = dataset.Request(
        options.train, options.val, options.test, *options.size, seed=options.seed
    )

    def make(console: Console) -> None:
        manifest = dataset.claim(request, root, options.force)
        if manifest is not None:
            console.print(f'already there: {root}', soft_wrap=True, markup=False)
            return
        manifest = draw_all(request, root, options.workers, console)
        console.print(shares(manifest))
        images = len(list(request.images()))
        console.print(f'{images} images in {root}', soft_wrap=True, markup=False)

    return command.run(
        make, root, f'stopped; {root} is unfinished, the same command draws it again'
    )


if __name__ == '__main__':
    sys.exit(main())
