"""Showing reference networks: as a table, and as a plot of scores over MACs."""

from collections.abc import Iterable, Iterator, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ..numbers import scaled
from ..plots import METRIC_NAMES
from ..table import Table
from ..tradeoff import COLOURS, MARKERS
from .counting import Counted
from .networks import NOTHING, Task


def reference_table(task: Task, rows: Sequence[Counted]) -> Table:
    """List the networks of a task.

    Args:
        task (Task): The comparison.
        rows (Sequence[Counted]): Its rows.

    Returns:
        Table: A line per network, one more for each further source of figures, and notes.
    """
    metric = task.metric.rpartition('/')[2]
    header = (
        '',
        'params',
        'published',
        'MACs',
        'published',
        f'{metric}, published',
        f"{metric}, mm's",
        'source',
    )
    return Table(
        header,
        tuple(line for row in rows for line in _lines(row)),
        title=task.title,
        notes=tuple(_notes(rows)),
        text=frozenset({0, len(header) - 1}),
    )


def _lines(row: Counted) -> Iterator[tuple[str, ...]]:
    """Yield the cells of a network: ours come once, with its first source."""
    reference, cost = row.reference, row.cost
    ours = (scaled(cost.params), scaled(cost.macs)) if cost else ('not built',) * 2
    if reference.config is None:
        ours = ('-', '-')
    name, (params, macs), library = reference.name, ours, _score(row.library.score)
    for said in reference.published or (NOTHING,):
        yield (
            name,
            params,
            _published(said.params),
            macs,
            _published(said.macs),
            _score(said.score),
            library,
            said.source,
        )
        name = params = macs = library = ''


def _notes(rows: Iterable[Counted]) -> Iterator[str]:
    for row in rows:
        for note in (row.missing and f'not built: {row.missing}', row.reference.note):
            if note:
                yield f'{row.reference.name}: {note}'


def _published(number: float | None) -> str:
    return '-' if number is None else scaled(number, digits=None)


def _score(score: float | None) -> str:
    return '-' if score is None else f'{score:.2f}'


def plot_reference(task: Task, rows: Iterable[Counted]) -> Figure:
    """Draw scores over MACs on a logarithmic axis.

    MACs are ours where the network was built, else the published ones.

    Args:
        task (Task): The comparison.
        rows (Iterable[Counted]): Its rows; those without a score or without MACs are left out.

    Returns:
        Figure: One panel; variants of a network are joined by a line.
    """
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        points: list[tuple[float | None, float | None]]
        points = [(said.macs, said.score) for said in row.reference.published]
        if row.cost:
            points = [(row.cost.macs, row.score)]
        for macs, score in points:
            if macs is not None and score is not None:
                name = row.reference.name.partition(',')[0]
                lines.setdefault(name, []).append((macs, score))
    figure = Figure(figsize=(8, 4.2), layout='constrained')
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for number, (name, line) in enumerate(lines.items()):
        axis.plot(
            *zip(*sorted(line), strict=True),
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=7,
            linewidth=1.2,
            label=name,
        )
    axis.set_xscale('log')
    axis.xaxis.set_major_formatter(EngFormatter())
    axis.set_xlabel('MACs')
    axis.set_ylabel(METRIC_NAMES.get(task.metric, task.metric))
    axis.set_title(task.title)
    axis.spines[['top', 'right']].set_visible(False)
    axis.grid(color='0.9', linewidth=0.6)
    axis.set_axisbelow(True)
    figure.legend(loc='outside right upper', frameon=False, fontsize=9)
    return figure
