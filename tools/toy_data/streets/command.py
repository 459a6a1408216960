"""make_toy_data.py streets: street scenes with exact labels, in the layout of Cityscapes."""

import argparse

import numpy as np
from rich.console import Console
from rich.table import Table

from toy_data import command

from . import classes, dataset


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    command.add(
        commands,
        'streets',
        make,
        description='Draw a small street-scene data set with exact labels, in the folder layout of '
        'Cityscapes: leftImg8bit/SPLIT/DISTRICT/*_leftImg8bit.png and '
        'gtFine/SPLIT/DISTRICT/*_gtFine_labelTrainIds.png (trainIds, 255 = ignore). The same '
        'arguments give the same bytes, with any number of workers.',
        epilog='All Cityscapes classes appear but train and motorcycle. Running the command again '
        'does nothing if the set is complete, and starts afresh if it was interrupted.',
        images=(200, 50, 50),
        size=(128, 256),
        noun='images',
        others='streets',
        stopped='stopped; {root} is unfinished, the same command draws it again',
        advice='; about twice as wide as high looks best',
    )


def make(options: argparse.Namespace, console: Console) -> None:
    """Draw the set, if it is not there."""
    root = options.out_dir
    request = dataset.Request.of(options)
    if dataset.claim(request, root, options.force) is not None:
        console.print(f'already there: {root}', soft_wrap=True, markup=False)
        return
    images = len(list(request.images()))
    pixels = np.zeros(256, np.int64)
    drawing = dataset.write_set(request, root, options.workers)
    for counted in command.progress(drawing, 'drawing streets', images, console):
        pixels += counted
    console.print(shares(dataset.finish(request, root, pixels)))
    console.print(f'{images} images in {root}', soft_wrap=True, markup=False)


def shares(manifest: dict) -> Table:
    """List the share of each class in all pixels."""
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
