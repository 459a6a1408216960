"""Draw a ticket from nothing: toy streets, search and pruning in one training, test, pictures."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from st_mm.analysis.log import Event, Scores, Step, read_line

ROOT = Path(__file__).resolve().parents[1]  # the repository, or what the wheel has of it
CONFIG = ROOT / 'configs/toy/supertickets-p90-slim_8b-30e_toy-streets-128x256.py'
DENSE = 'hr-supernet-slim_8b-30e_toy-streets-128x256'  # the same network, not searched or pruned
SEARCH_THEN_PRUNE = 4.26  # mIoU at the same ratio, not retrained: configs/ablations/README.md
HOME = ROOT if (ROOT / 'pyproject.toml').is_file() else Path.cwd()
DATA = Path('data/toy_streets')  # where the config expects it, from HOME

console = Console(highlight=False)


def run(command: Iterable[str | Path], log: Path) -> Iterator[str]:
    """Run a command, keep its output in a log, and yield it line by line.

    If nobody takes the lines any more, as after Ctrl-C, the command ends, with all that it has
    started.

    Raises:
        SystemExit: If the command fails; the end of its output is shown.
    """
    words = [str(word) for word in command]
    console.print(f'[dim]$ {" ".join(_short(word) for word in words)}[/]', soft_wrap=True)
    lines: list[str] = []
    with (
        open(log, 'w', encoding='utf-8', buffering=1) as file,  # line by line, to look at
        subprocess.Popen(
            words,
            cwd=HOME,
            env={**os.environ, 'PYTHONWARNINGS': 'ignore', 'PYTHONUNBUFFERED': '1'},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            for line in process.stdout or ():
                file.write(line)
                lines.append(line.rstrip())
                yield lines[-1]
            process.wait()
        finally:
            if process.poll() is None:
                stop(process)
    if process.returncode:
        console.print('\n'.join(lines[-15:]), markup=False)
        console.print(f'[red]failed with exit code {process.returncode}[/]; all of it: {log}')
        raise SystemExit(1)


def stop(process: subprocess.Popen[str]) -> None:
    """End a command and what it has started: mim starts the training, that the loaders of data."""
    if hasattr(os, 'killpg'):
        os.killpg(process.pid, signal.SIGTERM)
    else:  # Windows
        process.terminate()
    process.wait()


def interrupt(*_: object) -> None:
    """Take SIGTERM as Ctrl-C."""
    raise KeyboardInterrupt


def _short(word: str) -> str:
    """A word as a newcomer would type it."""
    if word == sys.executable:
        return 'python'
    try:
        return os.path.relpath(word) if os.sep in word else word
    except ValueError:  # on another drive of Windows
        return word


def train(work_dir: Path, epochs: int | None) -> float:
    """Train, or go on with a training that was stopped; returns the seconds it took."""
    start = time.time()
    command = [sys.executable, '-m', 'mim', 'train', 'mmseg', CONFIG, '--work-dir', work_dir]
    options = ['--cfg-options', 'default_hooks.checkpoint.max_keep_ckpts=-1']
    options += [] if epochs is None else short_training(epochs)
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task('training', total=None)
        score = ''
        for line in run([*command, '--resume', *options], work_dir / 'train.txt'):
            match read_line(line):
                case Step(epoch, iteration, per_epoch, loss):
                    total = per_epoch * (epochs or config().train_cfg.max_epochs)
                    done = (epoch - 1) * per_epoch + iteration
                    text = f'training  epoch {epoch}  loss {loss:.3f}{score}'
                    progress.update(task, completed=done, total=total, description=text)
                case Scores(_, metrics):
                    score = f'  val mIoU {metrics["mIoU"]:.2f}'
                case Event(text):
                    progress.console.print(f'  {text}', soft_wrap=True)
        # mmengine logs every so many iterations, and the last of a training seldom is one of them
        progress.update(task, completed=progress.tasks[task].total)
    return time.time() - start


@cache
def config() -> Any:
    """The demo's config."""
    with warnings.catch_warnings():  # of pkg_resources, which is of no use to a newcomer
        warnings.simplefilter('ignore')
        from mmengine import Config

    return Config.fromfile(CONFIG)


def short_training(epochs: int) -> list[str]:
    """Options that squeeze the schedule into fewer epochs."""
    places = {hook.type: f'custom_hooks.{i}' for i, hook in enumerate(config().custom_hooks)}
    search, prune = places['SearchHook'], places['ProgressivePruneHook']
    options = {
        'train_cfg.max_epochs': epochs,
        'param_scheduler.0.total_steps': epochs,
        f'{search}.interval': 1,
        f'{prune}.interval': 1,
        f'{prune}.step': 0.9,
        f'{prune}.end': max(epochs - 1, 1),
    }
    return [f'{name}={value}' for name, value in options.items()]


def test(work_dir: Path, checkpoint: Path) -> dict[str, float]:
    """Test the ticket by mim; returns its metrics."""
    folder = work_dir / 'test'
    command = [sys.executable, '-m', 'mim', 'test', 'mmseg', CONFIG]
    command += ['--checkpoint', checkpoint, '--work-dir', folder]
    for _ in run(command, work_dir / 'test.txt'):
        pass
    newest = max(folder.glob('*/*.json'), key=lambda path: path.stat().st_mtime)
    return json.loads(newest.read_text())


def chance(labels: Path) -> float:
    """Mean IoU, in percent, of what needs no network: the commonest class everywhere."""
    counts = np.zeros(256, dtype=int)
    for path in labels.rglob('*_gtFine_labelTrainIds.png'):
        counts += np.bincount(np.asarray(Image.open(path)).ravel(), minlength=256)
    counts = counts[:255]  # 255 is not evaluated
    return float(100 * counts.max() / counts.sum() / np.count_nonzero(counts))


def shipped(name: str, metric: str) -> float:
    """A figure that comes with the package, from the metafile of the toy recipes."""
    models = yaml.safe_load((CONFIG.parent / 'metafile.yml').read_text(encoding='utf-8'))['Models']
    [model] = [model for model in models if model['Name'] == name]
    return float(model['Results'][0]['Metrics'][metric])


def show(command: list[str | Path], log: Path) -> None:
    """Run a tool of ours and print what it prints."""
    script, *arguments = command
    for line in run([sys.executable, ROOT / script, *arguments], log):
        console.print(line, markup=False, soft_wrap=True)


def main() -> int:
    """Run the command line; SIGTERM and Ctrl-C stop it."""
    signal.signal(signal.SIGTERM, interrupt)
    try:
        return demo()
    except KeyboardInterrupt:
        console.print('\nstopped; the same command goes on from the last checkpoint')
        return 130


def demo() -> int:
    """Do one thing after the other."""
    parser = argparse.ArgumentParser(
        description=f'{__doc__} A run that is stopped goes on where it was.'
    )
    parser.add_argument(
        '--work-dir', type=Path, default=HOME / 'work_dirs' / 'demo', help='(%(default)s)'
    )
    parser.add_argument(
        '--epochs', type=int, help='a shorter training, for a first look (default: as configured)'
    )
    args = parser.parse_args()
    if args.epochs is not None and args.epochs < 2:
        parser.error(f'--epochs must be at least 2, got {args.epochs}')
    work_dir = args.work_dir.resolve()
    work_dir.mkdir(parents=True, exist_ok=True)
    begin = time.time()

    console.rule('1  draw the data')
    show(['tools/make_toy_data.py', 'streets', DATA], work_dir / 'data.txt')
    console.rule('2  search and prune in one training')
    seconds = train(work_dir, args.epochs)
    checkpoint = Path((work_dir / 'last_checkpoint').read_text().strip())
    console.rule('3  test the ticket')
    metrics = test(work_dir, checkpoint)
    console.rule('4  look at the ticket')
    figures = work_dir / 'ticket.json'
    show(
        ['tools/ticket.py', 'show', checkpoint, '--json', figures, '--force'],
        work_dir / 'ticket.txt',
    )
    console.rule('5  pictures')
    curves, predictions = work_dir / 'training.png', work_dir / 'predictions.png'
    show(
        ['tools/analysis/plot_training.py', work_dir, '--out', curves, '--force'],
        work_dir / 'plot.txt',
    )
    show(
        ['tools/analysis/plot_predictions.py', CONFIG, checkpoint, '--out', predictions, '--force'],
        work_dir / 'predictions.txt',
    )

    totals = json.loads(figures.read_text())['totals']
    table = Table(title='the ticket', show_header=False)
    table.add_row('test mIoU', f'{metrics["mIoU"]:.2f}')
    table.add_row('  commonest class everywhere', f'{chance(HOME / DATA / "gtFine/test"):.2f}')
    table.add_row('  dense supernet, as shipped', f'{shipped(DENSE, "mIoU (ours)"):.2f}')
    table.add_row('  searched, then pruned to 90 %, as shipped', f'{SEARCH_THEN_PRUNE:.2f}')
    for name in ('mAcc', 'aAcc'):
        table.add_row(f'test {name}', f'{metrics[name]:.2f}')
    units, weights = totals['units'], totals['weights']
    table.add_row('search units', f'{units["alive"]:,} of {units["total"]:,}')
    table.add_row('density', f'{weights["density"]:.4f} of {weights["total"]:,} weights')
    for name, label in (('params', 'parameters'), ('macs', 'MACs')):
        sizes = (totals[kind][name] for kind in ('dense', 'structural', 'nonzero'))
        table.add_row(f'{label}: supernet, searched, nonzero', '  '.join(f'{n:,}' for n in sizes))
    table.add_row('checkpoint', _short(str(checkpoint)))
    table.add_row('training curves', _short(str(curves)))
    table.add_row('predictions', _short(str(predictions)))
    table.add_row('training, all', f'{seconds / 60:.1f} min, {(time.time() - begin) / 60:.1f} min')
    console.rule('done')
    console.print(table)
    return 0


if __name__ == '__main__':
    sys.exit(main())
