"""Draws a small data set of people with keypoints, in the format of COCO.

    python tools/make_toy_people.py data/toy_people

makes 600 pictures of 160x160 pixels, in less than a minute and without a download. mmpose's
`CocoDataset` reads the result. See `toy_people/` for how the pictures come about.
"""

from __future__ import annotations

import argparse
import sys

from rich.console import Console
from toy_data import command
from toy_data.people import dataset


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    return command.parse(
        arguments,
        description='Draw a small data set of people with the 17 keypoints of COCO, in its format: '
        'annotations/person_keypoints_SPLIT.json and images/SPLIT/*.png. The same arguments give '
        'the same bytes, with any number of workers.',
        epilog='Box and area are those of the silhouette, with what others hide of it; a keypoint '
        'has v = 1 behind something and v = 0 outside the picture. The folder appears when the '
        'set is complete; running the command again then does nothing. '
        'Exit codes: 0 the set is there, 1 it could not be written, 2 wrong arguments or a folder '
        'that holds something else.',
        images=(400, 100, 100),
        size=(160, 160),
        noun='images',
        others='people',
    )


def main() -> int:
    """Runs the command line; returns the exit code."""
    options = parse()
    root = options.out_dir
    request = dataset.Request(
        options.train, options.val, options.test, *options.size, seed=options.seed
    )

    def make(console: Console) -> None:
        if dataset.already_there(request, root, options.force):
            console.print(f'already there: {root}', soft_wrap=True, markup=False)
            return
        images = len(list(request.images()))
        drawing = dataset.write_set(request, root, options.workers)
        people = sum(command.progress(drawing, 'drawing people', images, console))
        text = f'{people} people in {images} images in {root}'
        console.print(text, soft_wrap=True, markup=False)

    return command.run(make, root, 'stopped; nothing was written')


if __name__ == '__main__':
    sys.exit(main())
