"""Trains, tests and compares the rows of a matrix: ablations, criteria, ratios.

python tools/run_matrix.py configs/ablations/toy/ladder.py
"""

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from matrix.plan import ROOT, Plan, Row, read
from matrix.scheduler import bars, run
from matrix.steps import Worker
from mmengine import DictAction
from rich.console import Console

from st_mm.analysis.plots import save_figure
from st_mm.analysis.report import Cost
from st_mm.analysis.tradeoff import Point, plot_tradeoff, tradeoff_markdown, tradeoff_table
from st_mm.files import write_atomically

console = Console(highlight=False)
if not console.is_terminal:
    console = Console(highlight=False, width=100)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Train and test every row of a matrix, and whatever rows load from; end in a '
        'table and a plot. A second call leaves what is finished, and goes on where it was.',
        epilog='Exit codes: 0 all done, 1 a row failed, 2 wrong arguments, 130 stopped.',
    )
    parser.add_argument('matrix', type=Path, help='such as configs/ablations/toy/ladder.py')
    parser.add_argument('--work-dir', type=Path, help='for all rows (that of the matrix)')
    parser.add_argument('--jobs', type=int, default=2, help='rows at once (%(default)s)')
    parser.add_argument(
        '--ratio', type=float, nargs='+', metavar='P', help='pruning ratios (those of the matrix)'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='changes of every config'
    )
    parser.add_argument('--dry-run', action='store_true', help='show the trainings, run none')
    options = parser.parse_args()
    if options.jobs < 1:
        parser.error(f'--jobs must be at least 1, got {options.jobs}')
    for ratio in options.ratio or ():
        if not 0 < ratio < 1:
            parser.error(f'--ratio must be between 0 and 1, got {ratio:g}')
    return options


def changes(texts: list[str]) -> dict[str, object]:
    """What ``--cfg-options`` says, as mm understands it."""
    parser = argparse.ArgumentParser()
    parser.add_argument('changes', nargs='*', action=DictAction)
    return parser.parse_args(texts).changes or {}


@contextmanager
def lock(work_dir: Path) -> Iterator[int]:
    """Hold the work dir; gives the file descriptor of the lock, which others may hold as well.

    Raises:
        ValueError: If somebody else holds it.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    held = os.open(work_dir / '.lock', os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield held
    except BlockingIOError:
        raise ValueError(
            f'another call, or a training that one has left behind, is at work in {work_dir}: '
            'wait for it, or end it'
        ) from None
    finally:
        os.close(held)


def point(row: Row, result: dict, metric: str) -> Point:
    """A row as a point of the plot."""
    totals = result['totals']
    return Point(
        label=row.label,
        ratio=row.training.ratio,
        score=result['metrics'][metric],
        density=totals['weights']['density'],
        structural=Cost(**totals['structural']),
        nonzero=Cost(**totals['nonzero']),
    )


def compare(folder: Path, measured: list[tuple[Row, dict]], metric: str) -> None:
    """Show the table; write it, the figures and the plot into a folder."""
    points = [point(row, result, metric) for row, result in measured]
    console.print(tradeoff_table(points, metric))
    plain = [dict(label=row.label, ratio=row.training.ratio, **result) for row, result in measured]
    write_atomically(folder / 'results.json', (json.dumps(plain, indent=2) + '\n').encode())
    write_atomically(folder / 'table.md', tradeoff_markdown(points, metric).encode())
    save_figure(plot_tradeoff(points, metric), folder / 'tradeoff.png')
    for name in ('table.md', 'results.json', 'tradeoff.png'):
        console.print(os.path.relpath(folder / name), soft_wrap=True)


def show(workers: Iterable[Worker]) -> None:
    """Say what would run."""
    for worker in workers:
        training = worker.training
        source = f', loads {training.parent.name}' if training.parent else ''
        state = 'done' if worker.done else f'{training.epochs} epochs'
        console.print(f'{training.name}: {state}{source}', soft_wrap=True)


def main() -> int:
    """Run the command line; returns the exit code."""
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        matrix = read(options.matrix)
        work_dir = (options.work_dir or ROOT / matrix.work_dir).resolve()
        ratios = options.ratio or matrix.ratios
        folder = options.matrix.resolve().parent
        plan = Plan(matrix, folder, work_dir, ratios, changes(options.cfg_options))
        tested = {row.training for row in plan.rows}
        workers = {
            training: Worker(training, training in tested, matrix.input_shape, options.cfg_options)
            for training in plan.trainings
        }
        for worker in workers.values():
            worker.check()
        if options.dry_run:
            show(workers.values())
            return 0
        with lock(work_dir) as held, bars(console) as progress:
            if prepare := matrix.get('prepare'):
                subprocess.run([sys.executable, *prepare], cwd=ROOT, check=True)
            todo = [worker for worker in workers.values() if not worker.done]
            failed = run(todo, options.jobs, held, progress)
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        console.print('stopped; the same command goes on from the last checkpoints')
        return 130
    rows = [row for row in plan.rows if row.training not in failed]
    measured = [(row, workers[row.training].result()) for row in rows]
    if measured:
        compare(work_dir / options.matrix.stem, measured, matrix.metric)
    for training, log in failed.items():
        reason = f'see {os.path.relpath(log)}' if log else 'not run: what it loads has failed'
        console.print(f'[red]{training.name}[/]: {reason}', soft_wrap=True)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
