"""What mmengine prints while it trains, read line by line."""

import re
from dataclasses import dataclass

STEP = re.compile(r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\](?:.*?\bloss: ([\d.]+|nan|inf))?')
SCORES = re.compile(r'Epoch\(val\)\s+\[(\d+)\]\[\s*\d+/\d+\]\s*(.*)')
SCORE = re.compile(r'(\S.*): (-?[\d.]+|nan)')
GAP = re.compile(r'\s{2,}')  # between the metrics of a line; their names may have single spaces
EVENT = re.compile(r'INFO - ((?:search|prune|reactivate|reap|masks fitted again) at .*)')
TIMES = ('data_time', 'time')  # mmengine lists them among the metrics


@dataclass(frozen=True)
class Step:
    """A line of the training: how far it is.

    Attributes:
        epoch (int): The present epoch, counted from 1.
        iteration (int): Iterations done in it.
        per_epoch (int): Iterations of an epoch.
        loss (float, optional): Training loss; None if the line has none.
    """

    epoch: int
    iteration: int
    per_epoch: int
    loss: float | None = None

    @property
    def epochs(self) -> float:
        """Count the epochs done, with the part of the present one."""
        return self.epoch - 1 + self.iteration / self.per_epoch


@dataclass(frozen=True)
class Scores:
    """The end of a validation.

    Attributes:
        epoch (int): After this epoch.
        metrics (dict[str, float]): Metrics by name.
    """

    epoch: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Event:
    """An event of search or pruning, in words."""

    text: str


def read_line(line: str) -> Step | Scores | Event | None:
    """Read a line of the output of a training that runs by epochs.

    Args:
        line (str): As mmengine's logger prints it, with or without a line break.

    Returns:
        Step | Scores | Event | None: What the line says; None for every other line.
    """
    if found := STEP.search(line):
        epoch, iteration, per_epoch, loss = found.groups()
        return Step(
            int(epoch), int(iteration), int(per_epoch), None if loss is None else float(loss)
        )
    if found := SCORES.search(line):
        pairs = [pair.groups() for part in GAP.split(found[2]) if (pair := SCORE.fullmatch(part))]
        metrics = {name: float(value) for name, value in pairs if name not in TIMES}
        return Scores(int(found[1]), metrics) if metrics else None
    if found := EVENT.search(line):
        return Event(found[1].rstrip())
    return None


def last_step(text: str) -> Step | None:
    """Find how far a training has come.

    Args:
        text (str): Its output so far.

    Returns:
        Step | None: What the last such line says; None before the first one.
    """
    for line in reversed(text.splitlines()):
        if isinstance(found := read_line(line), Step):
            return found
    return None
