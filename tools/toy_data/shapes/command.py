"""make_toy_data.py shapes: pictures of shapes, in the folder layout of ImageNet."""

import argparse

from rich.console import Console

from toy_data import command

from . import dataset
from .outlines import KINDS


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    command.add(
        commands,
        'shapes',
        make,
        description='Draw a small data set of shapes, in the folder layout of ImageNet: '
        'SPLIT/CLASS/CLASS_NUMBER.png. The same arguments give the same bytes, with any number of '
        'workers.',
        epilog=f'Classes: {", ".join(KINDS)}; as many pictures of each as of any other. Running '
        'the command again does nothing if the set is complete; a run that fails or is stopped '
        'leaves no files.',
        images=(1000, 200, 200),
        size=(64, 64),
        noun='pictures',
        others='pictures',
        stopped='stopped; {root} is as it was',
    )


def make(options: argparse.Namespace, console: Console) -> None:
    """Draw the set, if it is not there."""
    root = options.out_dir
    request = dataset.Request.of(options)
    if dataset.claim(request, root, options.force):
        console.print(f'already there: {root}', soft_wrap=True, markup=False)
        return
    total = len(list(request.images()))
    drawing = dataset.write_set(request, root, options.workers)
    for _ in command.progress(drawing, 'drawing shapes', total, console):
        pass
    text = f'{total} pictures of {len(KINDS)} classes in {root}'
    console.print(text, soft_wrap=True, markup=False)
