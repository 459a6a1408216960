"""Training curves as mmengine logs them, with the events of search and pruning."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from st_mm.hooks.event_log import EVENTS
from st_mm.hooks.way_to_target import TARGET
from st_mm.ticket import Ticket, load_checkpoint

from .course import courses

METRICS = ('mIoU', 'accuracy/top1', 'coco/AP')  # segmentation, classification, poses
# events; each logs scalars 'KIND/...'
KINDS = ('search', 'prune', 'reactivate', 'refit', 'inherit', 'reap')

Line = dict[str, Any]


@dataclass(frozen=True)
class Series:
    """A quantity over the training: ``y[i]`` at time ``x[i]``."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Event:
    """Something that search or pruning did.

    Attributes:
        kind (str): ``'search'``, ``'prune'``, ``'reactivate'``, ``'refit'``, ``'inherit'`` or
            ``'reap'``.
        x (float): When.
        taken (bool): False for a search step, or a reaping, that removed nothing.
        density (float, optional): Density after it, if the event changes it.
    """

    kind: str
    x: float
    taken: bool = True
    density: float | None = None


class Size(NamedTuple):
    """What the network costs, of a resource that the search has a target of.

    Attributes:
        name (str): The resource, such as ``'macs'``.
        series (Series): What the network costs.
        target (float): What it should.
    """

    name: str
    series: Series
    target: float


class Record(NamedTuple):
    """What the newest checkpoint of a training says.

    Attributes:
        ticket (Ticket, optional): Its ticket record.
        epoch (int): Epochs done.
        iteration (int): Iterations done.
    """

    ticket: Ticket | None
    epoch: int
    iteration: int


@dataclass(frozen=True)
class Curves:
    """The curves of a training.

    Attributes:
        name (str): Name of the training.
        unit (str): Unit of time, ``'epoch'`` or ``'iteration'``.
        loss (Series): Training loss.
        metric (str, optional): Name of the validation metric; None without validation.
        score (Series): The metric.
        density (Series): Share of prunable weights that are not masked.
        units (Series): Search units alive.
        events (tuple[Event, ...]): Events in the order of time.
        sizes (tuple[Size, ...]): What the search has a target of; none without a target.
    """

    name: str
    unit: str
    loss: Series
    metric: str | None
    score: Series
    density: Series
    units: Series
    events: tuple[Event, ...]
    sizes: tuple[Size, ...] = ()


def read_curves(path: str | Path) -> Curves:
    """Read the curves of a training, its resumed runs joined.

    Args:
        path (str | Path): A work dir, or a ``scalars.json`` of mmengine's ``LocalVisBackend``.

    Returns:
        Curves: Time is in epochs if the log has them, else in iterations.

    Raises:
        FileNotFoundError: If there are no scalars.
        ValueError: If a file is not a scalars file, or has no training loss.
    """
    path = Path(path)
    files = [path] if path.is_file() else sorted(path.glob('*/vis_data/scalars.json'))
    if not files:
        raise FileNotFoundError(
            f'{path} has no */vis_data/scalars.json: give the work dir of a training, or the file'
        )
    runs = [_read_lines(file) + _events_beside(file) for file in files]
    if path.is_dir():
        return build_curves(path.resolve().name, runs, _newest_record(path))
    inside = path.resolve().parent.name == 'vis_data'
    return build_curves(path.resolve().parents[2].name if inside else path.stem, runs)


def build_curves(name: str, runs: Iterable[list[Line]], record: Record | None = None) -> Curves:
    """Join the logs of a training's runs, and sort their contents.

    Args:
        name (str): Name of the training.
        runs (Iterable[list[dict]]): The scalars of each run, the oldest run first. From its first
            iteration on, a later run replaces the earlier ones.
        record (Record, optional): What a checkpoint says. Its events replace the logged ones up to
            its time, and it says how many iterations an epoch has.

    Returns:
        Curves: The joined curves.

    Raises:
        ValueError: If there is no training loss.
    """
    runs = list(runs)
    by_epoch = any('epoch' in line for line in _train(line for run in runs for line in run))
    train: list[Line] = []
    validation: list[Line] = []
    logged: list[Line] = []
    for run in runs:
        ours = list(_train(run))
        if not ours:
            continue
        noted = [line for line in run if _kind_of(line) is not None]
        first = min((*ours, *noted), key=lambda line: line['step'])
        last_epoch = max(line.get('epoch', 0) for line in ours)
        checks = [line for line in run if 'step' in line and _metric_of(line) is not None]
        # mmengine steps validations by epoch or by iteration (LoggerHook.log_metric_by_epoch)
        in_epochs = by_epoch and all(line['step'] <= last_epoch for line in checks)
        checks = [{**line, 'in_epochs': in_epochs} for line in checks]
        train = [line for line in train if line['step'] < first['step']] + ours
        logged = [line for line in logged if line['step'] < first['step']]
        logged += noted
        start = ours[0]['epoch'] if in_epochs else first['step']
        validation = [line for line in validation if line['step'] < start] + checks
    if not train:
        raise ValueError(f'the log of {name} has no training loss yet')

    per_epoch = 1.0
    if by_epoch:
        per_epoch = _iterations_per_epoch(train)
        if record is not None and record.epoch and record.iteration:
            per_epoch = record.iteration / record.epoch
    events = sorted(_events(record, logged, by_epoch, per_epoch), key=lambda event: event.x)
    metric = next((m for m in METRICS if any(m in line for line in validation)), None)
    everything = sorted([*train, *logged], key=lambda line: line['step'])
    return Curves(
        name=name,
        unit='epoch' if by_epoch else 'iteration',
        loss=_series(train, 'loss', per_epoch),
        metric=metric,
        score=Series(
            tuple(
                line['step'] if line['in_epochs'] else line['step'] / per_epoch
                for line in validation
                if metric in line
            ),
            tuple(line[metric] for line in validation if metric in line),
        ),
        density=_density(train, events, per_epoch),
        units=_series(everything, 'search/units', per_epoch),
        events=tuple(events),
        sizes=tuple(_sizes(everything, record, per_epoch)),
    )


def _read_lines(path: Path) -> list[Line]:
    """Read the scalars of one run, without a last line that a kill has cut off."""
    lines: list[Line] = []
    texts = path.read_text(encoding='utf-8', errors='replace').splitlines()
    for number, text in enumerate(texts, 1):
        try:
            line = json.loads(text)
        except json.JSONDecodeError as error:
            if number == len(texts) and lines:
                break
            raise ValueError(f'{path} is not a scalars file: line {number}: {error}') from error
        if not isinstance(line, dict):
            raise ValueError(f'{path} is not a scalars file: line {number} is not a JSON object')
        lines.append(line)
    return lines


def _events_beside(path: Path) -> list[Line]:
    """The events of one run, which have a file of their own."""
    events = path.with_name(EVENTS)
    return _read_lines(events) if events.is_file() else []


def _newest_record(work_dir: Path) -> Record | None:
    checkpoints = sorted(work_dir.glob('*.pth'), key=lambda path: path.stat().st_mtime)
    if not checkpoints:
        return None
    meta = load_checkpoint(checkpoints[-1])['meta']
    return Record(Ticket.from_meta(meta), meta.get('epoch') or 0, meta.get('iter') or 0)


def _train(lines: Iterable[Line]) -> Iterator[Line]:
    return (line for line in lines if 'loss' in line and 'step' in line)


def _metric_of(line: Line) -> str | None:
    return None if 'loss' in line else next((m for m in METRICS if m in line), None)


def _kind_of(line: Line) -> str | None:
    """Tell the kind of event that a line logs; None for another line."""
    names = [name for name in line if name != 'step']
    kinds = {name.partition('/')[0] for name in names}
    return kinds.pop() if len(kinds) == 1 and kinds <= set(KINDS) and 'step' in line else None


def _iterations_per_epoch(train: list[Line]) -> float:
    """Compute the iterations of an epoch from the first lines of two epochs."""
    first: dict[int, int] = {}
    for line in train:
        first.setdefault(line['epoch'], line['step'])
    epochs = sorted(first)
    if len(epochs) > 1:
        start, end = epochs[0], epochs[-1]
        return (first[end] - first[start]) / (end - start)
    return float(max(line['step'] / line['epoch'] for line in train))


def _series(lines: Iterable[Line], key: str, per_epoch: float) -> Series:
    points = {line['step'] / per_epoch: line[key] for line in lines if key in line}
    return Series(tuple(points), tuple(points.values()))


def _sizes(lines: list[Line], record: Record | None, per_epoch: float) -> Iterator[Size]:
    """Find the targets, the last of each, in the log or in the record, and the way to them."""
    ticket = record.ticket if record is not None else None
    targets = {course.name: course.target for course in (courses(ticket) if ticket else [])}
    for line in lines:
        targets |= {
            name.partition('/')[2]: value
            for name, value in line.items()
            if name.startswith(f'{TARGET}/')
        }
    for name, target in targets.items():
        series = _series(lines, f'search/{name}', per_epoch)
        if series.x:
            yield Size(name, series, target)


def _density(train: list[Line], events: list[Event], per_epoch: float) -> Series:
    """Follow the density from its start over each event that changes it.

    Events have priority over training lines, which show a change only at the next log interval.
    """
    points = {event.x: event.density for event in events if event.density is not None}
    start = next((line for line in train if 'prune/density' in line), None)
    if start is not None and (x := start['step'] / per_epoch) < min(points, default=math.inf):
        points = {x: start['prune/density'], **points}
    return Series(tuple(points), tuple(points.values()))


def _events(
    record: Record | None, logged: Iterable[Line], by_epoch: bool, per_epoch: float
) -> Iterator[Event]:
    done = -1
    if record is not None and record.ticket is not None:
        done = record.iteration
        for event in record.ticket.events:
            if event['kind'] not in KINDS:
                continue  # a target: not an event in the plot
            x = float(event['t'])
            if event['unit'] == 'epoch' and not by_epoch:
                x *= record.iteration / record.epoch
            elif event['unit'] == 'iter' and by_epoch:
                x /= per_epoch
            yield _event(event['kind'], x, event)
    for line in logged:
        if line['step'] > done:
            kind = _kind_of(line)
            assert kind is not None
            figures = {name.partition('/')[2]: value for name, value in line.items()}
            yield _event(kind, line['step'] / per_epoch, figures)


def _event(kind: str, x: float, figures: Mapping[str, Any]) -> Event:
    taken = kind not in ('search', 'reap') or bool(figures.get('removed', 1))
    return Event(kind, x, taken, figures.get('density'))
