"""Draw what a segmentation ticket predicts: input, truth and prediction side by side.

python tools/analysis/plot_predictions.py CONFIG CKPT
"""

import argparse
import contextlib
import io
import sys
from pathlib import Path

import st_mm  # noqa: F401  # registers the models, applies the runtime fixes
from st_mm.analysis.plots import plot_predictions, save_figure
from st_mm.analysis.predictions import SPLITS, predict
from st_mm.command_line import exit_code
from st_mm.files import check_output


def count(text: str) -> int:
    """A number of pictures: 1 or more."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'{text!r} is not a number of pictures')
    return int(text)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Draw input, truth and prediction for pictures spread evenly over a split.',
        epilog='example: python tools/analysis/plot_predictions.py configs/camvid/'
        'supertickets-p90-slim_8b-40e_camvid-192x256.py work_dirs/NAME/epoch_40.pth. '
        'Exit codes: 0 drawn, 1 the figure could not be written, 2 wrong config, checkpoint or '
        'data.',
    )
    parser.add_argument('config', type=Path, metavar='CONFIG', help='a config of mmseg')
    parser.add_argument('checkpoint', type=Path, metavar='CKPT', help='weights of its model')
    parser.add_argument('--split', choices=SPLITS, default='test', help='(%(default)s)')
    parser.add_argument(
        '--number', type=count, default=4, metavar='N', help='pictures (%(default)s)'
    )
    parser.add_argument(
        '--out', type=Path, metavar='PNG', help='the figure (predictions.png beside CKPT)'
    )
    parser.add_argument('--force', action='store_true', help='overwrite the figure')
    options = parser.parse_args(arguments)
    try:
        if options.out:
            check_output(options.out, [options.config, options.checkpoint], options.force)
    except OSError as error:
        parser.error(str(error))
    return options


def run(options: argparse.Namespace) -> None:
    """Draw the picture."""
    out = options.out or options.checkpoint.parent / 'predictions.png'
    with contextlib.redirect_stdout(io.StringIO()):  # what mm says while it loads a model
        samples, meta = predict(options.config, options.checkpoint, options.split, options.number)
    save_figure(plot_predictions(samples, meta['classes'], meta['palette']), out)
    print(out)


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse()
    return exit_code(lambda: run(options))


if __name__ == '__main__':
    sys.exit(main())
