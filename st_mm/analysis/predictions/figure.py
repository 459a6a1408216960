"""The figure of predictions: a row for each picture, a column for each network."""

import textwrap
from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .panels import Bars, Panel, Picture, Predictions

WIDTH = 9.6  # of a figure, in inches, if its columns fit
NARROWEST, HIGHEST = 1.5, 2.6  # a panel
TITLE, TEXT = 10, 8  # points
LETTER, LINE = 0.62 / 72, 1.35 / 72  # width and height of a letter, in inches a point
RIGHT, WRONG = 'black', '0.75'


def plot_predictions(predictions: Predictions) -> Figure:
    """Draw what is given and what networks predict side by side, a row for each picture.

    Args:
        predictions (Predictions): The pictures, at least one.

    Returns:
        Figure: The rows, and a legend of the colours that occur in them.
    """
    rows, columns = predictions.rows, len(predictions.columns)
    width = max(NARROWEST, WIDTH / columns)
    shapes = [
        max(panel.image.shape[0] / panel.image.shape[1] for panel in _pictures(row)) for row in rows
    ]
    width = max(NARROWEST, min(width, HIGHEST / max(shapes)))
    titles = [_wrap(title, width) for title in predictions.columns]
    room = LINE * (
        TITLE * max(title.count('\n') + 1 for title in titles)
        + TEXT * 1.5 * sum(any(panel.caption for panel in _pictures(row)) for row in rows)
    )
    entries = _entries(predictions, width * columns)
    legend = 0.24 * -(-len(predictions.legend) // entries)
    figure = Figure(
        figsize=(width * columns, width * sum(shapes) + room + legend + 0.1), layout='constrained'
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False, height_ratios=shapes)
    for line, row, shape in zip(axes, rows, shapes, strict=True):
        for axis, panel in zip(line, row, strict=True):
            _draw(axis, panel)
            if isinstance(panel, Bars):
                axis.set_box_aspect(shape)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=TITLE)
    if predictions.legend:
        figure.legend(
            handles=[
                Patch(facecolor=np.divide(colour, 255), edgecolor='0.5', linewidth=0.5, label=name)
                for name, colour in predictions.legend
            ],
            loc='outside lower center',
            ncols=entries,
            frameon=False,
            fontsize=9,
        )
    return figure


def _pictures(row: Iterable[Panel]) -> list[Picture]:
    return [panel for panel in row if isinstance(panel, Picture)]


def _wrap(title: str, width: float) -> str:
    """Break a title so that it is no wider than its column."""
    letters = int(width / (LETTER * TITLE))
    return '\n'.join(textwrap.fill(line, letters) for line in title.split('\n'))


def _entries(predictions: Predictions, width: float) -> int:
    """How many names of the legend stand in a line, so that all lines are about as long."""
    longest = max((len(name) for name, _ in predictions.legend), default=1)
    fit = max(1, int(width / (0.5 + 0.085 * longest)))
    lines = -(-len(predictions.legend) // fit) or 1
    return -(-len(predictions.legend) // lines) or 1


def _draw(axis: Axes, panel: Panel) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    if isinstance(panel, Picture):
        axis.imshow(panel.image, interpolation='nearest')
        axis.set_xlabel(panel.caption, fontsize=TEXT)
        return
    axis.set_xlim(0, 1)
    axis.set_ylim(len(panel.names), -0.5)
    for place, (name, share) in enumerate(zip(panel.names, panel.shares, strict=True)):
        right = place == panel.right
        axis.barh(place + 0.3, share, height=0.25, color=RIGHT if right else WRONG)
        weight = 'bold' if right else 'normal'
        axis.text(0, place + 0.1, f'{name} {share:.2f}', fontsize=TEXT, weight=weight)
