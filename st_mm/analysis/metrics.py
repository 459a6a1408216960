"""The metrics of the paper's tasks: what they are called, and how they are shown."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A metric as mm's evaluators name it.

    Attributes:
        key (str): Name in what mm writes.
        name (str): Short name for tables.
        scale (float): Times what mm writes gives what is shown. Defaults to 1.
        unit (str): Unit of what is shown; empty for none. Defaults to ``'%'``.
    """

    key: str
    name: str
    scale: float = 1.0
    unit: str = '%'

    @property
    def label(self) -> str:
        """Name with unit, for an axis."""
        return f'{self.name} [{self.unit}]' if self.unit else self.name


# in the order of the paper's tables; mm gives shares where the scale is 100
METRICS = {
    metric.key: metric
    for metric in (
        Metric('mIoU', 'mIoU'),
        Metric('mAcc', 'mAcc'),
        Metric('aAcc', 'aAcc'),
        Metric('accuracy/top1', 'top-1'),
        Metric('accuracy/top5', 'top-5'),
        Metric('coco/AP', 'AP', 100),
        Metric('coco/AP (M)', 'AP_M', 100),
        Metric('coco/AP (L)', 'AP_L', 100),
        Metric('coco/AR', 'AR', 100),
        Metric('PCK', 'PCK', 100),
    )
}


def task_metrics(measured: Iterable[str], first: str | None = None) -> list[Metric]:
    """Choose the metrics to show among those that were measured.

    Args:
        measured (Iterable[str]): Names that mm has written.
        first (str, optional): The one that matters most; it leads, and may be one that the paper
            does not have. Defaults to None.

    Returns:
        list[Metric]: Metrics of the paper, in its order.
    """
    measured = set(measured)
    found = [metric for key, metric in METRICS.items() if key in measured and key != first]
    if first in measured:
        found.insert(0, METRICS.get(first, Metric(first, first, unit='')))
    return found
