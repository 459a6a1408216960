"""Trains, tests and compares the rows of a matrix: ablations, criteria, ratios.

python tools/run_matrix.py configs/ablations/toy/ladder.py
"""

import argparse
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from matrix import results
from matrix.plan import Plan, read
from matrix.scheduler import Needs, bars, connect, run, settle
from matrix.steps import Job
from matrix.training import LOCK, ROOT
from mmengine import DictAction
from rich.console import Console

console = Console(highlight=False)
if not console.is_terminal:
    console = Console(highlight=False, width=120)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Train and test every row of a matrix, and whatever rows load from; end in a '
        'table and a plot. A second call leaves what is finished, and goes on where it was.',
        epilog='Exit codes: 0 all done, 1 a row failed, 2 wrong arguments, 130 stopped, 143 '
        'stopped by SIGTERM.',
    )
    parser.add_argument('matrix', type=Path, help='such as configs/ablations/toy/ladder.py')
    parser.add_argument('--work-dir', type=Path, help='for all rows (that of the matrix)')
    parser.add_argument(
        '--ratio', type=float, nargs='+', metavar='P', help='pruning ratios (those of the matrix)'
    )
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        metavar='N',
        help="every row once per seed (the configs' own)",
    )
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='changes of every config'
    )
    parser.add_argument('--dry-run', action='store_true', help='show the trainings, run none')
    nodes = parser.add_argument_group('machines, by Ray')
    nodes.add_argument('--address', help="of a Ray cluster (Ray's own on this machine)")
    nodes.add_argument(
        '--cpus-per-job', type=float, default=1, metavar='N', help='and threads (%(default)s)'
    )
    nodes.add_argument(
        '--gpus-per-job', type=float, metavar='N', help='0.5: two share one (1 if there are any)'
    )
    nodes.add_argument(
        '--retries', type=int, default=3, metavar='N', help='nodes a job may lose (%(default)s)'
    )
    output = parser.add_argument_group('table and plot')
    output.add_argument(
        '--report-only',
        action='store_true',
        help='make both again from results.json, which may stand in place of the matrix',
    )
    output.add_argument(
        '--x-scale', choices=['log', 'linear'], default='log', help='of the MACs (%(default)s)'
    )
    options = parser.parse_args()
    check(parser, options)
    return options


def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse values that make no sense."""
    for ratio in options.ratio or ():
        if not 0 < ratio < 1:
            parser.error(f'--ratio must be between 0 and 1, got {ratio:g}')
    if options.cpus_per_job <= 0:
        parser.error(f'--cpus-per-job must be more than 0, got {options.cpus_per_job:g}')
    gpus = options.gpus_per_job
    if gpus is not None and (gpus < 0 or (gpus > 1 and gpus % 1)):
        parser.error(f'--gpus-per-job must be a share of one GPU or a whole number, got {gpus:g}')
    if options.retries < 0:
        parser.error(f'--retries must be at least 0, got {options.retries}')
    seeds = options.seeds or []
    if min(seeds, default=0) < 0 or len(set(seeds)) < len(seeds):
        parser.error(
            f'--seeds must be different numbers from 0 on, got {" ".join(map(str, seeds))}'
        )
    if seeds and any(text.startswith('randomness.seed=') for text in options.cfg_options):
        parser.error('--seeds and --cfg-options randomness.seed say the same: give one of them')
    if options.matrix.suffix == '.json' and not options.report_only:
        parser.error(f'{options.matrix} holds results: add --report-only, or give a matrix')


def changes(texts: list[str]) -> dict[str, object]:
    """What ``--cfg-options`` says, as mm understands it."""
    parser = argparse.ArgumentParser()
    parser.add_argument('changes', nargs='*', action=DictAction)
    return parser.parse_args(texts).changes or {}


@contextmanager
def lock(work_dir: Path) -> Iterator[None]:
    """Keep other calls out of the work dir.

    Raises:
        ValueError: If another call is at work in it.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    held = os.open(work_dir / LOCK, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ValueError(f'another call is at work in {work_dir}: wait for it, or end it') from None
    finally:
        os.close(held)


def show_plan(jobs: Iterable[Job]) -> None:
    """Say what would run."""
    for job in jobs:
        training = job.training
        source = f', loads {training.parent.name}' if training.parent else ''
        state = 'done' if job.done else f'{training.epochs} epochs'
        console.print(f'{training.name}: {state}{source}', soft_wrap=True)


def show_results(found: results.Results, folder: Path, x_scale: str) -> None:
    """Show the table; make it and the plot in a folder."""
    table, files = results.report(found, folder, log=x_scale == 'log')
    console.print(table.terminal())
    console.print(results.summary(found), soft_wrap=True, markup=False)
    for path in (folder / results.NAME, *files):
        console.print(results.shown(path), soft_wrap=True)


def report_only(options: argparse.Namespace) -> int:
    """Make the table and the plot of results that are there; returns the exit code."""
    path = options.matrix
    if path.suffix != '.json':
        work_dir = options.work_dir or ROOT / read(path).work_dir
        path = work_dir.resolve() / path.stem / results.NAME
    show_results(results.read(path), path.parent, options.x_scale)
    return 0


def run_rows(options: argparse.Namespace) -> int:
    """Train, test and compare; returns the exit code."""
    matrix = read(options.matrix)
    work_dir = (options.work_dir or ROOT / matrix.work_dir).resolve()
    folder = options.matrix.resolve().parent
    plan = Plan(
        matrix,
        folder,
        work_dir,
        options.ratio or matrix.ratios,
        changes(options.cfg_options),
        options.seeds,
    )
    tested = {row.training for row in plan.rows}
    jobs = {
        training: Job(training, training in tested, matrix.input_shape, options.cfg_options)
        for training in plan.trainings
    }
    for job in jobs.values():
        job.check()
    if options.dry_run:
        show_plan(jobs.values())
        return 0
    failed = {}
    with lock(work_dir):
        todo = [job for job in jobs.values() if not job.done]
        if todo:
            needs = Needs(options.cpus_per_job, options.gpus_per_job, options.retries)
            with connect(options.address), bars(console) as progress:
                needs = settle(needs)
                if prepare := matrix.get('prepare'):
                    subprocess.run([sys.executable, *prepare], cwd=ROOT, check=True)
                failed = run(todo, needs, progress)
        measured = [row for row in plan.rows if row.training not in failed]
        if measured:
            found = results.collect(options.matrix, matrix, measured, jobs)
            results.write(found, work_dir / options.matrix.stem)
            show_results(found, work_dir / options.matrix.stem, options.x_scale)
    for training, outcome in failed.items():
        log = f' ({results.shown(outcome.log)})' if outcome.log else ''
        text = f'{training.name}: {outcome.reason}{log}'
        console.print(text, style='red', markup=False, soft_wrap=True)
    return 1 if failed else 0


def main() -> int:
    """Run the command line; returns the exit code."""
    options = parse()
    # SIGTERM stops it as Ctrl-C does (Ray lets no other exception through), with a code of its own
    terminated: list[int] = []

    def terminate(*_: object) -> None:
        terminated.append(143)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    try:
        return report_only(options) if options.report_only else run_rows(options)
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        console.print('stopped; the same command goes on from the last checkpoints')
        return terminated[0] if terminated else 130


if __name__ == '__main__':
    sys.exit(main())
