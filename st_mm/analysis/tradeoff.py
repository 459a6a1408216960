"""Score against cost of several tickets: a table, and a plot as the paper's Figures 2-7."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator
from rich import box
from rich.table import Table

from .plots import BLACK, BLUE, GREEN, METRIC_NAMES, ORANGE, PURPLE
from .report import Cost

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, '#E69F00', '#56B4E9', BLACK)
MARKERS = 'ovs^DPX*<>'
MARGIN = 1.6  # rows of one ratio cost nearly the same: no zooming into their differences
HEADER = ('params', 'nonzero', 'MACs', 'nonzero')


@dataclass(frozen=True)
class Point:
    """A ticket: what it scores, and what it costs.

    Attributes:
        label (str): How it was drawn.
        ratio (float, optional): Pruning ratio that was asked for; None where nothing is pruned.
        score (float): The metric.
        density (float): Share of the prunable weights that is not zero.
        structural (Cost): Parameters and MACs as the tensors are shaped.
        nonzero (Cost): Without what is zero.
    """

    label: str
    ratio: float | None
    score: float
    density: float
    structural: Cost
    nonzero: Cost


def tradeoff_table(points: Iterable[Point], metric: str) -> Table:
    """List tickets for a terminal.

    Args:
        points (Iterable[Point]): The tickets, a row each.
        metric (str): Name of the metric.

    Returns:
        Table: The rows in their order.
    """
    table = Table(box=box.SIMPLE_HEAD, header_style='bold', padding=(0, 0, 0, 1))
    table.add_column('')
    for name in ('p', metric, 'density', *HEADER):
        table.add_column(name, justify='right')
    for point in points:
        table.add_row(*_cells(point))
    return table


def tradeoff_markdown(points: Iterable[Point], metric: str) -> str:
    """List tickets in Markdown.

    Args:
        points (Iterable[Point]): The tickets, a row each.
        metric (str): Name of the metric.

    Returns:
        str: A table with a line break at the end.
    """
    names = ('', 'p', metric, 'density', *HEADER)
    lines = [names, ('---', *['---:'] * (len(names) - 1)), *map(_cells, points)]
    return ''.join(f'| {" | ".join(cells)} |\n' for cells in lines)


def plot_tradeoff(points: Sequence[Point], metric: str) -> Figure:
    """Draw scores over nonzero MACs and parameters, each on a logarithmic axis.

    Args:
        points (Sequence[Point]): The tickets; those of one label are joined by a line.
        metric (str): Name of the metric.

    Returns:
        Figure: Two panels side by side, and a legend of the labels.
    """
    labels = list(dict.fromkeys(point.label for point in points))
    rows = -(-len(labels) // 3)
    figure = Figure(figsize=(9, 3.6 + 0.22 * rows), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, name in zip(axes, ('macs', 'params'), strict=True):
        for number, label in enumerate(labels):
            line = sorted((getattr(p.nonzero, name), p.score) for p in points if p.label == label)
            axis.plot(
                *zip(*line, strict=True),
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                markersize=7,
                linewidth=1.2,
                label=label,
            )
        costs = [getattr(point.nonzero, name) for point in points]
        axis.set_xscale('log')
        axis.set_xlim(min(costs) / MARGIN, max(costs) * MARGIN)
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
        axis.xaxis.set_major_formatter(EngFormatter())
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel({'macs': 'MACs', 'params': 'parameters'}[name] + ' (nonzero)')
        axis.spines[['top', 'right']].set_visible(False)
        axis.grid(color='0.9', linewidth=0.6)
        axis.set_axisbelow(True)
    axes[0].set_ylabel(METRIC_NAMES.get(metric, metric))
    axes[0].set_ylim(bottom=0)
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc='outside lower center',
        ncols=min(3, len(labels)),
        frameon=False,
        fontsize=9,
    )
    return figure


def _cells(point: Point) -> tuple[str, ...]:
    return (
        point.label,
        '-' if point.ratio is None else f'{point.ratio:g}',
        f'{point.score:.2f}',
        f'{point.density:.4f}',
        f'{point.structural.params:,}',
        f'{point.nonzero.params:,}',
        f'{point.structural.macs / 1e6:,.2f} M',
        f'{point.nonzero.macs / 1e6:,.2f} M',
    )
