"""Figures of a training, and how a figure is saved."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from st_mm.files import write_atomically
from st_mm.hooks.event_lines import LABELS

from .curves import Curves, Series

# colours of Okabe and Ito, for any colour vision; markers carry the same information
BLUE, ORANGE, GREEN, PURPLE, BLACK = '#0072B2', '#D55E00', '#009E73', '#CC79A7', '#222222'
RED = '#882255'  # a wine red, which goes with them
EVENTS = dict(
    search=('search', BLUE, 'o'),
    prune=('prune', ORANGE, 'v'),
    reactivate=('reactivate', GREEN, '^'),
    refit=('refit masks', PURPLE, 's'),
    inherit=('take masks over', BLACK, 'D'),
    reap=('reap', RED, 'X'),
)
# of the curves: none of those, since lines of the events run through their panels
LOSS, SCORE, DENSITY, UNITS, SIZE = '#56B4E9', '#E69F00', '#8C564B', '#7F7F7F', '#5E4FA2'
METRIC_NAMES = {
    'mIoU': 'mIoU [%]',
    'accuracy/top1': 'top-1 accuracy [%]',
    'coco/AP': 'COCO AP',
}
DPI = 150


def plot_training(curves: Curves) -> Figure:
    """Draw loss, score, density, units and sizes over one time axis, events marked.

    Quantities that were not logged have no panel. Sizes are those that the search has a target of,
    which is a dashed line.

    Args:
        curves (Curves): What was logged.

    Returns:
        Figure: Panels one below the other, and a strip of the events above them.
    """
    panels = [('training loss', curves.loss, LOSS, False)]
    if curves.metric is not None:
        name = METRIC_NAMES.get(curves.metric, curves.metric)
        panels.append((name, curves.score, SCORE, False))
    for name, series, colour in (
        ('density [%]', curves.density, DENSITY),
        ('units alive', curves.units, UNITS),
    ):
        if series.x:
            panels.append((name, series, colour, True))
    for size in curves.sizes:
        panels.append((_label(size.name), size.series, SIZE, True))
    targets = {_label(size.name): size.target for size in curves.sizes}
    kinds = [kind for kind in EVENTS if any(event.kind == kind for event in curves.events)]
    heights = [0.26 * len(kinds)] * bool(kinds) + [1.7] * len(panels)
    figure = Figure(figsize=(8, sum(heights) + 1.1), layout='constrained')
    FigureCanvasAgg(figure)
    figure.suptitle(curves.name, fontsize=11)
    axes = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, height_ratios=heights
    ).flatten()
    if kinds:
        _draw_strip(axes[0], curves, kinds)
        axes = axes[1:]
    for axis, (name, series, colour, steps) in zip(axes, panels, strict=True):
        _draw_panel(axis, name, series, colour, steps, end=_end(curves))
        if name in targets:
            _draw_target(axis, targets[name])
        for event in curves.events:
            if event.taken:
                colour = EVENTS[event.kind][1]
                axis.axvline(event.x, color=colour, linewidth=0.8, alpha=0.35, zorder=0)
    axes[-1].set_xlabel(curves.unit)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[-1].set_xlim(0, 1.01 * _end(curves))
    figure.align_ylabels(axes)
    return figure


def _end(curves: Curves) -> float:
    ends = [max(series.x) for series in (curves.loss, curves.score, curves.density) if series.x]
    return max([*ends, *(event.x for event in curves.events)])


def _draw_strip(axis: Any, curves: Curves, kinds: Sequence[str]) -> None:
    """Draw a row of markers per kind of event: the legend of the lines below."""
    for row, kind in enumerate(reversed(kinds)):
        _, colour, marker = EVENTS[kind]
        for taken in (True, False):
            x = [event.x for event in curves.events if (event.kind, event.taken) == (kind, taken)]
            axis.scatter(
                x,
                [row] * len(x),
                s=26,
                marker=marker,
                edgecolors=colour,
                facecolors=colour if taken else 'white',
                zorder=2,
                clip_on=False,
            )
    names = [EVENTS[kind][0] for kind in reversed(kinds)]
    axis.set_yticks(range(len(kinds)), names)
    for label, kind in zip(axis.get_yticklabels(), reversed(kinds), strict=True):
        label.set_color(EVENTS[kind][1])
    axis.set_ylim(-0.6, len(kinds) - 0.4)
    axis.tick_params(length=0, labelbottom=False)
    axis.spines[:].set_visible(False)
    if any(not event.taken for event in curves.events):
        axis.set_title('hollow: nothing removed', loc='right', fontsize=8, color='0.4', pad=2)


def _draw_panel(axis: Any, name: str, series: Series, colour: str, steps: bool, end: float) -> None:
    x, y = list(series.x), list(series.y)
    if name.startswith('density'):
        y = [100 * value for value in y]
    if steps:
        axis.step([*x, end], [*y, y[-1]], where='post', color=colour, linewidth=1.6)
        axis.set_ylim(0, 1.08 * max(y))
    else:
        marker = 'o' if len(x) <= 60 else ''
        axis.plot(x, y, color=colour, linewidth=1.4, marker=marker, markersize=3.5)
        axis.set_ylim(bottom=0)
    axis.set_ylabel(name)
    axis.spines[['top', 'right']].set_visible(False)
    axis.grid(axis='y', color='0.9', linewidth=0.6)
    axis.set_axisbelow(True)
    axis.yaxis.set_major_formatter(lambda value, _: f'{value:,.10g}')


def _label(name: str) -> str:
    return 'latency [s]' if name == 'latency' else LABELS.get(name, name)


def _draw_target(axis: Any, target: float) -> None:
    axis.axhline(target, color='0.3', linewidth=1, linestyle='--')
    axis.annotate(
        'target', (0, target), (4, 2), textcoords='offset points', fontsize=8, color='0.3'
    )


def save_figure(figure: Figure, path: str | Path) -> None:
    """Save a figure as PNG, completely or not at all.

    Args:
        figure (Figure): The figure.
        path (str | Path): The file.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=DPI)
    write_atomically(path, buffer.getvalue())
