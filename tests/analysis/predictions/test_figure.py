"""The figure of predictions: nothing covers anything, whatever is shown."""

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure

from st_mm.analysis.predictions import Bars, Picture, Predictions, plot_predictions

PAPER = tuple(f'{name} {ratio} %' for name in ('S+P', 'SuperTickets') for ratio in (70, 80, 90, 95))
LONG = ('supertickets-p90-slim\n90 % pruned\nepoch_26', 'sp-magnitude-short-retrain\n90 % pruned')
COLOURS = [
    ('road', (128, 64, 128)), ('traffic light', (250, 170, 30)), ('sky', (70, 130, 180)),
    ('vegetation', (107, 142, 35)), ('building', (70, 70, 70)), ('bicycle', (119, 11, 32)),
    ('person', (220, 20, 60)), ('no label', (0, 0, 0)),
]  # fmt: skip


def texts(figure: Figure) -> list:
    """All texts that are seen: titles, captions, shares, names of colours."""
    shown = [axis.title for axis in figure.axes] + [axis.xaxis.label for axis in figure.axes]
    shown += [text for axis in figure.axes for text in axis.texts]
    shown += [text for legend in figure.legends for text in legend.get_texts()]
    return [text for text in shown if text.get_text()]


@pytest.mark.parametrize('labels', [('prediction',), LONG, PAPER], ids=['one', 'long', 'paper'])
@pytest.mark.parametrize('size', [(64, 128), (40, 30)], ids=str)
@pytest.mark.parametrize('kind', ['pictures', 'bars'])
def test_no_text_covers_another(labels, size, kind) -> None:
    picture = Picture(np.zeros((*size, 3), np.uint8))
    bars = Bars(('American lobster', 'steel arch bridge', 'go-kart'), (1.0, 0.3, 0.1), 0)
    given = [picture, picture] if kind == 'pictures' else [Picture(picture.image, 'bucket')]
    row = given + [picture if kind == 'pictures' else bars] * len(labels)
    titles = ('input', 'truth')[: len(given)]
    found = Predictions((*titles, *labels), [row] * 3, COLOURS if kind == 'pictures' else ())

    figure = plot_predictions(found)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in texts(figure)]
    assert len(boxes) >= len(found.columns)
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    page = figure.bbox
    for box in boxes:
        assert page.x0 <= box.x0 < box.x1 <= page.x1
        assert page.y0 <= box.y0 < box.y1 <= page.y1


def test_titles_and_legend() -> None:
    picture = Picture(np.zeros((6, 8, 3), np.uint8))
    found = Predictions(('input', 'truth', 'prediction'), [[picture] * 3] * 2, COLOURS[:2])
    figure = plot_predictions(found)
    assert [axis.get_title() for axis in figure.axes[:3]] == ['input', 'truth', 'prediction']
    assert len(figure.axes) == 6
    [legend] = figure.legends
    assert [entry.get_text() for entry in legend.get_texts()] == ['road', 'traffic light']
    assert [patch.get_facecolor()[:3] for patch in legend.get_patches()] == [
        tuple(np.divide(colour, 255)) for _, colour in COLOURS[:2]
    ]


def test_the_right_class_stands_out_in_grey() -> None:
    bars = Bars(('koala', 'fly'), (0.7, 0.2), 1)
    picture = Picture(np.zeros((8, 8, 3), np.uint8), 'fly')
    axis = plot_predictions(Predictions(('input', 'x'), [[picture, bars]])).axes[1]
    wrong, right = (np.mean(bar.get_facecolor()[:3]) for bar in axis.patches)
    assert wrong - right > 0.5
    assert [bar.get_width() for bar in axis.patches] == [0.7, 0.2]
    assert [text.get_text() for text in axis.texts] == ['koala 0.70', 'fly 0.20']
    assert [text.get_weight() for text in axis.texts] == ['normal', 'bold']
