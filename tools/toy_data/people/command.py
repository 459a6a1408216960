"""make_toy_data.py people: people with keypoints, in the format of COCO."""

import argparse

from rich.console import Console

from toy_data import command

from . import dataset


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    command.add(
        commands,
        'people',
        make,
        description='Draw a small data set of people with the 17 keypoints of COCO, in its format: '
        'annotations/person_keypoints_SPLIT.json and images/SPLIT/*.png. The same arguments give '
        'the same bytes, with any number of workers.',
        epilog='Box and area are those of the silhouette, with what others hide of it; a keypoint '
        'has v = 1 behind something and v = 0 outside the picture. The folder appears when the '
        'set is complete; running the command again then does nothing.',
        images=(400, 100, 100),
        size=(160, 160),
        noun='images',
        others='people',
        stopped='stopped; nothing was written',
    )


def make(options: argparse.Namespace, console: Console) -> None:
    """Draw the set, if it is not there."""
    root = options.out_dir
    request = dataset.Request.of(options)
    if dataset.already_there(request, root, options.force):
        console.print(f'already there: {root}', soft_wrap=True, markup=False)
        return
    images = len(list(request.images()))
    drawing = dataset.write_set(request, root, options.workers)
    people = sum(command.progress(drawing, 'drawing people', images, console))
    console.print(f'{people} people in {images} images in {root}', soft_wrap=True, markup=False)
