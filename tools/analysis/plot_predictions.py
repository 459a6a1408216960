"""Draw what tickets predict beside the truth: segmentation, poses, classes (Figs. 10 to 12).

python tools/analysis/plot_predictions.py CONFIG CKPT [CKPT ...]
"""

import argparse
import contextlib
import io
import sys
from pathlib import Path

import st_mm  # noqa: F401  # registers the models, applies the runtime fixes
from st_mm.analysis.plots import save_figure
from st_mm.analysis.predictions import SPLITS, plot_predictions, predict
from st_mm.command_line import checkpoint, exit_code
from st_mm.files import check_output
from st_mm.hub import config_or_path, root


def count(text: str) -> int:
    """A number of pictures: 1 or more."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'{text!r} is not a number of pictures')
    return int(text)


def config(text: str) -> Path:
    """A config, or the name of one of ours."""
    return Path(config_or_path(text))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Draw pictures spread evenly over a split: input, truth, and a column for each '
        'checkpoint. Segmentation is drawn as colours, a pose as the skeleton of its joints that '
        'are annotated, a class as the largest scores.',
        epilog='example: python tools/analysis/plot_predictions.py configs/camvid/'
        'supertickets-p90-slim_8b-40e_camvid-192x256.py work_dirs/NAME/epoch_40.pth. '
        'Exit codes: 0 drawn, 1 the figure could not be written, 2 wrong config, checkpoint or '
        'data.',
    )
    parser.add_argument(
        'config', type=config, metavar='CONFIG', help='of mmseg, mmpose or mmpretrain'
    )
    parser.add_argument(
        'checkpoints', type=checkpoint, nargs='+', metavar='CKPT', help='weights of its model'
    )
    parser.add_argument(
        '--labels',
        nargs='+',
        default=[],
        metavar='TEXT',
        help='titles of the checkpoints (names of their configs, and the share that is pruned)',
    )
    parser.add_argument('--split', choices=SPLITS, default='test', help='(%(default)s)')
    parser.add_argument(
        '--number', type=count, default=4, metavar='N', help='pictures (%(default)s)'
    )
    parser.add_argument(
        '--out',
        type=Path,
        metavar='PNG',
        help='the figure (predictions.png beside the first CKPT; here, if that ships with st_mm)',
    )
    parser.add_argument('--force', action='store_true', help='overwrite the figure')
    options = parser.parse_args(arguments)
    if len(options.checkpoints) == 1 and not options.labels:
        options.labels = ['prediction']
    try:
        if options.out:
            check_output(options.out, [options.config, *options.checkpoints], options.force)
    except OSError as error:
        parser.error(str(error))
    return options


def run(options: argparse.Namespace) -> None:
    """Draw the picture."""
    folder = options.checkpoints[0].parent
    if folder == root() / 'weights':
        folder = Path()
    out = options.out or folder / 'predictions.png'
    with contextlib.redirect_stdout(io.StringIO()):  # what mm says while it loads a model
        found = predict(
            options.config, options.checkpoints, options.labels, options.split, options.number
        )
    save_figure(plot_predictions(found), out)
    print(out)


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse()
    return exit_code(lambda: run(options))


if __name__ == '__main__':
    sys.exit(main())
