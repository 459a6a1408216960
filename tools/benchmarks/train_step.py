"""Measure what search and pruning add to a training step, and what they take off it.

python tools/benchmarks/train_step.py --rounds 20 --json step.json
"""

import argparse
import json
import os
import platform
import re
import sys
import tempfile
import warnings
from pathlib import Path

from rich.console import Console
from rich.table import Table

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
SLIM = CONFIGS / 'toy' / 'supertickets-p90-slim_8b-30e_toy-streets-128x256.py'
FULL = CONFIGS / 'cityscapes' / 'supertickets-p90_8xb4-430e_cityscapes-512x1024.py'
FULL_SIZE, FULL_BATCH = (64, 128), 2  # the surgery does not see the pictures
NAMES = ('hooks', 'learning', 'searched', 'shrink', 'memory', 'fusion')

HELP = """\
what is measured:
  hooks     a step between two events with all hooks and their masks, over one without
  learning  the same with masked weights that learn (straight_through), over one without that;
            eight steps and a choice of masks, over eight without either
  searched  a step with 50 % and 75 % of the units removed, over one with all of them
  shrink    seconds that removing units of the full supernet takes, DDP wrapper included
  memory    peak memory with all hooks, over that without
  fusion    a step of the model, over one of its unfused form in NCHW, masks in every forward

Variants take turns in one process, and the median of the rounds' ratios counts: a machine that
slows down for a while slows both. Threads are torch's (OMP_NUM_THREADS). The pictures are noise.
The targets of `searched` and `fusion` are meant for a CPU.
"""


def number(text: str) -> int:
    """A whole number: 1 or more."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number, 1 or more')
    return int(text)


def image_size(text: str) -> tuple[int, int]:
    """128x256 -> (128, 256)."""
    match = re.fullmatch(r'([1-9]\d*)x([1-9]\d*)', text)
    if match is None:
        raise argparse.ArgumentTypeError(f'{text!r} is not HEIGHTxWIDTH, such as 128x256')
    return int(match[1]), int(match[2])


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Measure what search and pruning add to a training step, and take off it.',
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--config', type=Path, default=SLIM,
        help='a config of mmseg with all hooks of st_mm (the slim supernet on toy streets)',
    )  # fmt: skip
    parser.add_argument('--batch-size', type=number, metavar='N', help="(the config's)")
    parser.add_argument('--size', type=image_size, metavar='HxW', help="pictures (the config's)")
    parser.add_argument('--rounds', type=number, default=10, metavar='N', help='(%(default)s)')
    parser.add_argument('--device', choices=['cpu', 'cuda'], help='(a GPU if there is one)')
    parser.add_argument(
        '--only', nargs='+', choices=NAMES, default=NAMES, metavar='NAME',
        help='measure these alone: ' + ', '.join(NAMES),
    )  # fmt: skip
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the figures to a file too')
    parser.add_argument('--force', action='store_true', help='overwrite FILE')
    options = parser.parse_args(arguments)
    if not options.config.is_file():
        parser.error(f'--config: there is no file {options.config}')
    return options


def measure(options: argparse.Namespace, work_dir: Path, console: Console) -> dict:
    """Take the figures; return them with the conditions, in plain types."""
    import torch
    from measures import MEASURES  # after --device
    from mmengine import Config
    from training import Setting

    config = Config.fromfile(options.config)
    size = options.size or tuple(config.model.data_preprocessor.size)
    batch_size = options.batch_size or config.train_dataloader.batch_size
    slim = Setting(options.config, size, batch_size, work_dir)
    full = Setting(FULL, FULL_SIZE, FULL_BATCH, work_dir)
    rows = []
    for name in options.only:
        with console.status(f'measuring {name}'):
            found = MEASURES[name](full if name == 'shrink' else slim, options.rounds)
            rows += [dict(measure=name, **row._asdict()) for row in found]
    gpu = torch.cuda.is_available()
    conditions = dict(
        config=options.config.name,
        size=list(size),
        batch_size=batch_size,
        rounds=options.rounds,
        device=torch.cuda.get_device_name() if gpu else f'{os.cpu_count()}-core CPU',
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        python=platform.python_version(),
    )
    return dict(conditions=conditions, rows=rows)


def show(figures: dict) -> Table:
    """The figures next to their targets."""
    caption = ', '.join(f'{name} {value}' for name, value in figures['conditions'].items())
    table = Table('', 'figure', 'target', 'medians', caption=caption)
    table.columns[1].justify = table.columns[2].justify = 'right'
    for row in figures['rows']:
        colour = 'green' if row['value'] <= row['target'] else 'red'
        target = f'<= {row["target"]:.2f}'
        table.add_row(row['name'], f'[{colour}]{row["value"]:.3f}[/]', target, row['detail'])
    return table


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse()
    if options.device == 'cpu':
        os.environ['CUDA_VISIBLE_DEVICES'] = '-1'  # mmengine takes a GPU wherever it sees one
    warnings.simplefilter('ignore')  # what mm says while it builds a model
    import torch

    import st_mm  # noqa: F401 - the runtime fixes, before any mm library is imported
    from st_mm.files import check_output, write_atomically

    if options.device == 'cuda' and not torch.cuda.is_available():
        print('error: --device cuda, but torch sees no GPU', file=sys.stderr)
        return 2
    try:
        if options.json:
            check_output(options.json, [options.config], options.force)
    except OSError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    console = Console() if sys.stdout.isatty() else Console(width=120)
    with tempfile.TemporaryDirectory() as work_dir:
        figures = measure(options, Path(work_dir), console)
    console.print(show(figures))
    if options.json:
        write_atomically(options.json, (json.dumps(figures, indent=2) + '\n').encode())
    return 0


if __name__ == '__main__':
    sys.exit(main())
