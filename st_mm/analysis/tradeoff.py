"""Scores against costs of several tickets: a table, and a plot as the paper's Figures 2-7."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from .metrics import Metric
from .numbers import scaled
from .plots import BLACK, BLUE, GREEN, ORANGE, PURPLE
from .report import Cost
from .table import Table

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, '#E69F00', '#56B4E9', BLACK)
MARKERS = 'ovs^DPX*<>'  # each in its colour, hollow from the eleventh label on
DASHES = ('-', '--', '-.', ':')  # in grey, lines are told apart by these and the markers
MARGIN = 1.6  # rows of one ratio cost nearly the same: no zooming into their differences
COSTS = ('params', 'nonzero', 'MACs', 'nonzero')
COLUMNS = 3  # panels side by side


@dataclass(frozen=True)
class Point:
    """A ticket: what it scores, and what it costs.

    Attributes:
        label (str): How it was drawn.
        ratio (float, optional): Pruning ratio that was asked for; None where nothing is pruned.
        seed (int, optional): Seed of its training; None if that is not known.
        scores (Mapping[str, float]): Metrics by the names that mm gives them.
        density (float): Share of the prunable weights that is not zero.
        structural (Cost): Parameters and MACs as the tensors are shaped.
        nonzero (Cost): Without what is zero.
    """

    label: str
    ratio: float | None
    seed: int | None
    scores: Mapping[str, float]
    density: float
    structural: Cost
    nonzero: Cost


@dataclass(frozen=True)
class Mean:
    """A figure over the seeds.

    Attributes:
        value (float): Its mean.
        deviation (float): Its standard deviation, of a sample (n - 1); 0 for a single seed.
        number (int): Number of seeds.
    """

    value: float
    deviation: float
    number: int

    @classmethod
    def of(cls, values: Iterable[float]) -> 'Mean':
        """Average figures, one of each seed."""
        values = list(values)
        return cls(fmean(values), stdev(values) if len(values) > 1 else 0.0, len(values))

    def text(self, digits: int) -> str:
        """The mean, and after it the deviation if there are several seeds."""
        mean = f'{self.value:.{digits}f}'
        return mean if self.number == 1 else f'{mean} ± {self.deviation:.{digits}f}'


@dataclass(frozen=True)
class Row:
    """The tickets of all seeds that were drawn alike.

    Attributes:
        label (str): How they were drawn.
        ratio (float, optional): Pruning ratio; None where nothing is pruned.
        points (tuple[Point, ...]): One ticket of each seed.
    """

    label: str
    ratio: float | None
    points: tuple[Point, ...]

    def score(self, metric: Metric) -> Mean | None:
        """A metric as it is shown; None where a ticket lacks it."""
        if any(metric.key not in point.scores for point in self.points):
            return None
        return Mean.of(metric.scale * point.scores[metric.key] for point in self.points)

    @property
    def macs(self) -> Mean:
        """Nonzero MACs."""
        return Mean.of(point.nonzero.macs for point in self.points)


def rows_of(points: Iterable[Point]) -> list[Row]:
    """Put the seeds of a row together.

    Args:
        points (Iterable[Point]): Tickets.

    Returns:
        list[Row]: A row for each label and ratio, in the order of the first point of each.
    """
    found: dict[tuple[str, float | None], list[Point]] = {}
    for point in points:
        found.setdefault((point.label, point.ratio), []).append(point)
    return [Row(label, ratio, tuple(alike)) for (label, ratio), alike in found.items()]


def tradeoff_table(points: Iterable[Point], metrics: Sequence[Metric]) -> Table:
    """List tickets: scores with their standard deviations, and mean costs.

    Args:
        points (Iterable[Point]): The tickets.
        metrics (Sequence[Metric]): Metrics to show, a column each.

    Returns:
        Table: A row for each label and ratio, in their order.
    """
    rows = rows_of(points)
    several = any(len(row.points) > 1 for row in rows)
    seeds = ('seeds',) if several else ()
    notes = ('scores: mean ± standard deviation over the seeds; costs: means',) if several else ()
    return Table(
        header=('', 'p', *seeds, *(metric.name for metric in metrics), 'density', *COSTS),
        rows=tuple(_cells(row, metrics, several) for row in rows),
        notes=notes,
    )


def plot_tradeoff(points: Iterable[Point], metrics: Sequence[Metric], log: bool = True) -> Figure:
    """Draw scores over nonzero MACs, with a panel for each metric (as the paper's Figs. 2 to 7).

    Args:
        points (Iterable[Point]): The tickets; those of one label are joined by a line. Bars show
            the standard deviations over the seeds, of the score and of the MACs.
        metrics (Sequence[Metric]): The metrics.
        log (bool): Whether the axis of the MACs is logarithmic. Defaults to True.

    Returns:
        Figure: Panels side by side, and a legend of the labels below them.
    """
    rows = rows_of(points)
    labels = list(dict.fromkeys(row.label for row in rows))
    columns = min(COLUMNS, len(metrics))
    lines = -(-len(metrics) // columns)
    legend = max(1, columns)
    height = 3.2 * lines + 0.4 + 0.22 * -(-len(labels) // legend)
    figure = Figure(figsize=(4.2 * columns, height), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(lines, columns, squeeze=False).flatten()
    for axis, metric in zip(axes, metrics, strict=False):
        for number, label in enumerate(labels):
            _draw_line(axis, [row for row in rows if row.label == label], metric, number)
        _dress(axis, [row.macs.value for row in rows], log)
        axis.set_ylabel(metric.label)
    for axis in axes[len(metrics) :]:
        axis.set_axis_off()
    figure.legend(
        [container.lines[0] for container in axes[0].containers],  # without bars over the markers
        labels,
        loc='outside lower center',
        ncols=legend,
        frameon=False,
        fontsize=9,
        handlelength=3.5,
    )
    return figure


def _draw_line(axis: Axes, rows: Sequence[Row], metric: Metric, number: int) -> None:
    """The rows of one label, by cost."""
    found = [(row.macs, score) for row in rows if (score := row.score(metric)) is not None]
    found.sort(key=lambda pair: pair[0].value)
    several = any(macs.number > 1 for macs, _ in found)
    colour = COLOURS[number % len(COLOURS)]
    line, caps, _ = axis.errorbar(
        [macs.value for macs, _ in found],
        [score.value for _, score in found],
        xerr=[macs.deviation for macs, _ in found] if several else None,
        yerr=[score.deviation for _, score in found] if several else None,
        color=colour,
        linestyle=DASHES[number % len(DASHES)],
        marker=MARKERS[number % len(MARKERS)],
        markersize=6.5,
        markerfacecolor=colour if number // len(MARKERS) % 2 == 0 else 'white',
        linewidth=1.2,
        elinewidth=0.8,
        capsize=2,
        zorder=3,
        label=rows[0].label,
    )
    for cap in caps:
        cap.set_zorder(line.get_zorder() - 0.5)  # those of the MACs would cross out the markers


def _dress(axis: Axes, costs: Sequence[float], log: bool) -> None:
    """The axes of a panel."""
    if log:
        axis.set_xscale('log')
        axis.set_xlim(min(costs) / MARGIN, max(costs) * MARGIN)
        left, right = axis.get_xlim()
        span = right / left  # so that labels do not touch
        subs = (1, 2, 3, 5, 7) if span <= 10 else (1, 2, 5) if span <= 100 else (1,)
        axis.xaxis.set_major_locator(LogLocator(subs=subs))
        axis.xaxis.set_minor_locator(NullLocator())
    else:
        axis.set_xlim(0, max(costs) * 1.1)
    axis.xaxis.set_major_formatter(EngFormatter())
    axis.set_xlabel('MACs (nonzero)')
    axis.set_ylim(bottom=0)
    axis.spines[['top', 'right']].set_visible(False)
    axis.grid(color='0.9', linewidth=0.6)
    axis.set_axisbelow(True)


def _cells(row: Row, metrics: Sequence[Metric], several: bool) -> tuple[str, ...]:
    points = row.points
    scores = [row.score(metric) for metric in metrics]
    return (
        row.label,
        '-' if row.ratio is None else f'{row.ratio:g}',
        *((str(len(points)),) if several else ()),
        *('-' if score is None else score.text(2) for score in scores),
        f'{fmean(point.density for point in points):.4f}',
        f'{round(fmean(point.structural.params for point in points)):,}',
        f'{round(fmean(point.nonzero.params for point in points)):,}',
        scaled(fmean(point.structural.macs for point in points)),
        scaled(fmean(point.nonzero.macs for point in points)),
    )
