"""Draw the curves of a training: loss, score, density and search units, events marked.

python tools/analysis/plot_training.py work_dirs/NAME
"""

import argparse
import sys
from pathlib import Path

import st_mm  # noqa: F401  # lets checkpoints of mmengine be read
from st_mm.analysis.curves import read_curves
from st_mm.analysis.plots import plot_training, save_figure
from st_mm.files import check_output


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Draw loss, validation score, density and search units over the time of a '
        'training; search, prune and reactivation events are marked. Resumed runs are joined.',
        epilog='example: python tools/analysis/plot_training.py work_dirs/NAME --out curves.png. '
        'Exit codes: 0 drawn, 1 the figure could not be written, 2 nothing to draw.',
    )
    parser.add_argument(
        'source', type=Path, metavar='WORK_DIR_OR_SCALARS',
        help='work dir of a training, or a vis_data/scalars.json in it',
    )  # fmt: skip
    parser.add_argument(
        '--out', type=Path, metavar='PNG', help='the figure (WORK_DIR/training.png, else beside '
        'the scalars)',
    )  # fmt: skip
    parser.add_argument('--force', action='store_true', help='overwrite the figure')
    options = parser.parse_args(arguments)
    try:
        if options.out:
            check_output(options.out, [options.source], options.force)
    except OSError as error:
        parser.error(str(error))
    return options


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse()
    folder = options.source if options.source.is_dir() else options.source.parent
    out = options.out or folder / 'training.png'
    try:
        save_figure(plot_training(read_curves(options.source)), out)
    except (ValueError, FileNotFoundError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        print(f'error: cannot write {out}: {error}', file=sys.stderr)
        return 1
    print(out)
    return 0


if __name__ == '__main__':
    sys.exit(main())
