"""Copy models that ship with st_mm: what `mim run st_mm download NAME` runs.

mim download asks a web server for weights, and knows nothing but http. These need none.
"""

import argparse
import sys
from pathlib import Path

from mmengine import Config

import st_mm  # noqa: F401 - the runtime fixes, before any mm library is imported
from st_mm.command_line import exit_code
from st_mm.files import check_output, write_atomically
from st_mm.hub import find, models, weights_path


def parse() -> argparse.Namespace:
    """Read the command line."""
    shipped = [model.name for model in models().values() if model.weights]
    parser = argparse.ArgumentParser(
        description='Copy the weights of models that ship with st_mm, and their configs in one '
        'file each, as mim download does. No network is needed.',
        epilog='models: ' + (', '.join(shipped) or 'none'),
    )
    parser.add_argument('names', nargs='+', metavar='NAME', help='as in the metafile')
    parser.add_argument('--dest', type=Path, default=Path(), metavar='FOLDER', help='(here)')
    parser.add_argument('--force', action='store_true', help='overwrite files that are there')
    return parser.parse_args()


def download(options: argparse.Namespace) -> None:
    """Copy each model; nothing is written if one cannot be."""
    targets = {}
    for name in options.names:
        model, weights = find(name), weights_path(name)
        targets[options.dest / f'{model.name}.pth'] = weights.read_bytes()
        config = Config.fromfile(model.config).pretty_text
        targets[options.dest / f'{model.name}.py'] = config.encode()
    for target in targets:
        check_output(target, force=options.force)
    for target, content in targets.items():
        write_atomically(target, content)
        print(target)


def main() -> int:
    """Run the command line."""
    options = parse()
    return exit_code(lambda: download(options))


if __name__ == '__main__':
    sys.exit(main())
