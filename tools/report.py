"""Write one page about a training: costs, curves, what is left of the network, predictions.

python tools/report.py work_dirs/NAME
"""

import argparse
import contextlib
import io
import sys
from pathlib import Path

import st_mm  # noqa: F401 - registers the models, applies the runtime fixes
from st_mm.analysis.architecture import plot_architecture, plot_densities
from st_mm.analysis.checkpoints import Opened, find_input_shape, open_checkpoint
from st_mm.analysis.costs import cost_card
from st_mm.analysis.curves import read_curves
from st_mm.analysis.latency import latency_tables, read_latency
from st_mm.analysis.page import Section, page
from st_mm.analysis.plots import plot_training
from st_mm.analysis.predictions import TASKS, plot_predictions, predict
from st_mm.analysis.report import report
from st_mm.analysis.survival import survival
from st_mm.analysis.survival_plot import plot_survival
from st_mm.command_line import NOT_RUN, add_config, exit_code
from st_mm.files import check_output, write_atomically

SURVIVAL = (
    'Units alive by kernel; their share in the blocks of each resolution; their share in each '
    'block.'
)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Write one self-contained HTML page about a training: what the ticket costs, '
        'its curves, what search and pruning have kept and when, what it predicts, where its data '
        'are at hand, and how long it takes.',
        epilog=f'{NOT_RUN} Exit codes: 0 written, 1 the page could not be written, 2 nothing to '
        'report.',
    )
    parser.add_argument('work_dir', type=Path, metavar='WORK_DIR', help='work dir of a training')
    parser.add_argument(
        '--checkpoint', type=Path, metavar='CKPT', help='(the last one of the training)'
    )
    parser.add_argument('--out', type=Path, metavar='HTML', help='(WORK_DIR/report.html)')
    parser.add_argument(
        '--pictures', type=int, default=3, metavar='N', help='predictions; 0 for none (%(default)s)'
    )
    parser.add_argument(
        '--latency', type=Path, nargs='*', metavar='JSON',
        help='what latency.py --json has written (WORK_DIR/latency*.json)',
    )  # fmt: skip
    parser.add_argument('--force', action='store_true', help='overwrite the page')
    add_config(parser)
    options = parser.parse_args(arguments)
    try:
        if options.out:
            check_output(options.out, [options.checkpoint], options.force)
        named = options.latency
        paths = sorted(options.work_dir.glob('latency*.json')) if named is None else named
        options.latency = [read_latency(path) for path in paths]
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if options.pictures < 0:
        parser.error(f'--pictures must be at least 0, got {options.pictures}')
    return options


def last_checkpoint(work_dir: Path) -> Path:
    """The checkpoint that a training ended with."""
    note = work_dir / 'last_checkpoint'
    if not note.is_file():
        raise FileNotFoundError(f'{work_dir} has no last_checkpoint: name one with --checkpoint')
    path = Path(note.read_text().strip())
    return path if path.is_file() else work_dir / path.name  # the folder may have been moved


def sections(options: argparse.Namespace, checkpoint: Path, opened: Opened) -> list[Section]:
    """Everything that can be said of the training."""
    shape = find_input_shape(opened.config, opened.ticket)
    found = report(opened.supernet, opened.model, opened.ticket, shape)
    card = cost_card(opened.supernet, opened.model, opened.ticket, shape)
    parts = [Section('Cost', card.table(), 'MACs are multiply-adds for one picture.')]
    with contextlib.suppress(FileNotFoundError):  # a checkpoint without its log
        parts.append(Section('Training', plot_training(read_curves(options.work_dir))))
    if found.totals.units.total:
        parts.append(
            Section(
                'Architecture',
                plot_architecture(found),
                'A box is a block; its coloured part is what the search has kept.',
            )
        )
    if opened.ticket and any(event['kind'] == 'search' for event in opened.ticket.events):
        try:
            course = survival(opened.ticket)
        except ValueError as error:
            print(f'no survival of units: {error}', file=sys.stderr)
        else:
            parts.append(Section('Survival of units', plot_survival(course), SURVIVAL))
    if (found.totals.weights.density or 1) < 1:
        parts.append(Section('Density per layer', plot_densities(found)))
    if options.pictures and opened.config.get('default_scope') in TASKS:
        configs = sorted(options.work_dir.glob('*.py'))
        try:
            if not configs:
                raise FileNotFoundError(f'{options.work_dir} has no config')
            predicted = predict(configs[0], [checkpoint], ['prediction'], number=options.pictures)
        except (FileNotFoundError, ValueError) as error:
            print(f'no predictions: {error}', file=sys.stderr)
        else:
            parts.append(Section('Predictions', plot_predictions(predicted)))
    parts += [Section('Latency', latency_tables(figures)) for figures in options.latency]
    parts.append(Section('MACs per layer', card.layers_table(), folded=True))
    return parts


def run(options: argparse.Namespace) -> None:
    """Write the page."""
    out = options.out or options.work_dir / 'report.html'
    checkpoint = options.checkpoint or last_checkpoint(options.work_dir)
    with contextlib.redirect_stdout(io.StringIO()):  # what mm says while it loads a model
        opened = open_checkpoint(checkpoint, options.config, options.trust)
        parts = sections(options, checkpoint, opened)
    facts = opened.facts
    done = '' if facts.epoch is None else f', epoch {facts.epoch}'
    versions = ', '.join(f'{name} {version}' for name, version in facts.versions.items())
    lines = [f'{checkpoint.name}{done}', facts.dataset, versions]
    write_atomically(out, page(facts.config, lines, parts).encode())
    print(out)


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse()
    return exit_code(lambda: run(options))


if __name__ == '__main__':
    sys.exit(main())
