"""What a matrix has measured, as one file; the table and the plot are made of that file alone."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine.config import Config

from st_mm.analysis.metrics import Metric, task_metrics
from st_mm.analysis.plots import save_figure
from st_mm.analysis.report import Cost
from st_mm.analysis.table import Table
from st_mm.analysis.tradeoff import Point, plot_tradeoff, tradeoff_table
from st_mm.files import write_atomically

from . import record
from .plan import Row
from .steps import Job
from .training import ROOT, Training

NAME = 'results.json'
Results = dict[str, Any]


def collect(
    path: Path, matrix: Config, rows: Iterable[Row], jobs: Mapping[Training, Job]
) -> Results:
    """Put together what was measured.

    Args:
        path (Path): The config of the matrix.
        matrix (Config): The same, read.
        rows (Iterable[Row]): Rows that were measured.
        jobs (Mapping[Training, Job]): The jobs of all trainings.

    Returns:
        dict: ``matrix``, ``metric``, ``input_shape``; ``rows``, each with ``label``, ``ratio``,
        ``seed``, ``metrics`` on the test split and ``totals`` of the ticket; ``trainings`` by the
        name under which rows and others (``loads``) refer to them, each with the ``run`` (commit,
        versions, machine, wall time: see :class:`matrix.record.Record`).
    """
    trainings: dict[str, Any] = {}
    measured = []
    for row in rows:
        training: Training | None = row.training
        measured.append(
            dict(
                label=row.label,
                ratio=row.training.ratio,
                seed=row.training.seed,
                training=row.training.name,
                **jobs[row.training].result(),
            )
        )
        while training is not None:
            trainings[training.name] = _training(training)
            training = training.parent
    return dict(
        matrix=_relative(path),
        metric=matrix.metric,
        input_shape=list(matrix.input_shape),
        rows=measured,
        trainings=trainings,
    )


def _training(training: Training) -> dict[str, Any]:
    run = record.read(training.folder)
    return dict(
        config=_relative(training.config),
        checkpoint=_relative(training.ticket),
        epochs=training.epochs,
        ratio=training.ratio,
        seed=training.seed,
        loads=training.parent.name if training.parent else None,
        run=asdict(run) if run else None,
    )


def _relative(path: Path) -> str:
    """A path as seen from the checkout, where it is inside."""
    path = path.resolve()
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def write(results: Results, folder: Path) -> None:
    """Write the results into a folder."""
    write_atomically(folder / NAME, (json.dumps(results, indent=2) + '\n').encode())


def read(path: Path) -> Results:
    """Read results.

    Raises:
        FileNotFoundError: If there are none.
        ValueError: If the file holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f'there is no {path}: run the matrix first')
    found = json.loads(path.read_text(encoding='utf-8'))
    if not isinstance(found, dict) or not {'metric', 'rows', 'trainings'} <= found.keys():
        raise ValueError(f'{path} does not hold the results of a matrix: run the matrix again')
    return found


def points(results: Results) -> list[Point]:
    """The rows of results as points of a table or a plot."""
    return [
        Point(
            label=row['label'],
            ratio=row['ratio'],
            seed=row['seed'],
            scores=row['metrics'],
            density=row['totals']['weights']['density'],
            structural=Cost(**row['totals']['structural']),
            nonzero=Cost(**row['totals']['nonzero']),
        )
        for row in results['rows']
    ]


def measured(results: Results) -> tuple[list[Point], list[Metric]]:
    """The rows of results, and the metrics of them that can be shown.

    Raises:
        ValueError: If no row has one.
    """
    found = points(results)
    metrics = task_metrics((name for p in found for name in p.scores), results['metric'])
    if not metrics:
        raise ValueError(f"no row has the metric '{results['metric']}', or one of the paper's")
    return found, metrics


def report(results: Results, folder: Path, log: bool) -> tuple[Table, list[Path]]:
    """Make the table and the plot of results, in seconds and from nothing else.

    Args:
        results (dict): As :func:`collect` gives them.
        folder (Path): Gets ``table.md`` and ``tradeoff.png``.
        log (bool): Whether the plot's axis of MACs is logarithmic.

    Returns:
        tuple[Table, list[Path]]: The table, and the files.

    Raises:
        ValueError: If no row has a metric that can be shown.
    """
    found, metrics = measured(results)
    table = tradeoff_table(found, metrics)
    files = [folder / 'table.md', folder / 'tradeoff.png']
    write_atomically(files[0], table.markdown().encode())
    save_figure(plot_tradeoff(found, metrics, log), files[1])
    return table, files


def summary(results: Results) -> str:
    """Say in a line on what the results were measured."""
    runs = [each['run'] for each in results['trainings'].values() if each['run']]
    total = sum(minutes(each) for each in results['trainings'].values())
    machines = dict.fromkeys(_machine(run['machine']) for run in runs)
    commits = dict.fromkeys(
        f'{run["commit"][:8]}{" with changes" if run["changed"] else ""}' if run['commit'] else '?'
        for run in runs
    )
    seeds = sorted({row['seed'] for row in results['rows'] if row['seed'] is not None})
    return (
        f'{len(results["trainings"])} trainings, {total:.1f} min in all, on '
        f'{"; ".join(machines) or "?"}; commit {", ".join(commits) or "?"}; '
        f'seed{"s" if len(seeds) > 1 else ""} {" ".join(map(str, seeds)) or "?"}'
    )


def minutes(training: Mapping[str, Any]) -> float:
    """Tell how long a training of some results took with its test, in minutes."""
    return sum(training['run']['seconds'].values()) / 60 if training['run'] else 0.0


def _machine(machine: Mapping[str, Any]) -> str:
    if machine['gpus']:
        return ', '.join(machine['gpus'])
    return f'{machine["cpus_per_job"]:g} of {machine["cpus"]} CPUs ({machine["cpu"]})'


def shown(path: Path) -> str:
    """A path as seen from where the user is."""
    return os.path.relpath(path)
