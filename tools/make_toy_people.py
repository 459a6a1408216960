"""Draws a small data set of people with keypoints, in the format of COCO.

    python tools/make_toy_people.py data/toy_people

makes 600 pictures of 160x160 pixels, in less than a minute and without a download. mmpose's
`CocoDataset` reads the result. See `toy_people/` for how the pictures come about.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from make_toy_streets import LARGEST, SMALLEST, available_cores, cores, count, image_size
from rich.console import Console
from rich.progress import track
from toy_people import dataset


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description='Draw a small data set of people with the 17 keypoints of COCO, in its format: '
        'annotations/person_keypoints_SPLIT.json and images/SPLIT/*.png. The same arguments give '
        'the same bytes, with any number of workers.',
        epilog='Box and area are those of the silhouette, with what others hide of it; a keypoint '
        'has v = 1 behind something and v = 0 outside the picture. The folder appears when the '
        'set is complete; running the command again then does nothing. '
        'Exit codes: 0 the set is there, 1 it could not be written, 2 wrong arguments or a folder '
        'that holds something else.',
    )
    whole = {'type': count, 'metavar': 'N'}
    parser.add_argument('out_dir', type=Path, metavar='OUT_DIR', help='new, empty or earlier set')
    parser.add_argument('--train', **whole, default=400, help='training images (%(default)s)')
    parser.add_argument('--val', **whole, default=100, help='validation images (%(default)s)')
    parser.add_argument('--test', **whole, default=100, help='test images (%(default)s)')
    parser.add_argument(
        '--size', type=image_size, default=(160, 160), metavar='HxW',
        help=f'pixels, {SMALLEST} to {LARGEST} each way (160x160)',
    )  # fmt: skip
    parser.add_argument('--seed', **whole, default=0, help='another seed, other people (0)')
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
    images = len(list(request.images()))
    try:
        if dataset.already_there(request, root, options.force):
            console.print(f'already there: {root}', soft_wrap=True, markup=False)
            return 0
        drawing = dataset.write_set(request, root, options.workers)
        people = sum(track(drawing, 'drawing people', images, console=console))
    except dataset.SetError as error:
        errors.print(f'error: {error}', markup=False)
        return 2
    except OSError as error:
        errors.print(f'error: cannot write {root}: {error}', markup=False)
        return 1
    except KeyboardInterrupt:
        errors.print('stopped; nothing was written', markup=False)
        return 130
    console.print(f'{people} people in {images} images in {root}', soft_wrap=True, markup=False)
    return 0


if __name__ == '__main__':
    sys.exit(main())
