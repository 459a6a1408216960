"""Figures of a training and of predictions."""

import matplotlib.image
import numpy as np
import pytest

from st_mm.analysis.curves import build_curves
from st_mm.analysis.plots import (
    EVENTS,
    Prediction,
    paint,
    plot_predictions,
    plot_training,
    save_figure,
)

PALETTE = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_figure_of_a_training(curves, tmp_path):
    figure = plot_training(curves)
    strip, *panels = figure.axes

    assert [label.get_text() for label in strip.get_yticklabels()] == [
        'reactivate', 'prune', 'search',
    ]  # fmt: skip
    assert [axis.get_ylabel() for axis in panels] == [
        'training loss', 'mIoU [%]', 'density [%]', 'units alive',
    ]  # fmt: skip
    assert panels[-1].get_xlabel() == 'epoch'
    assert len({axis.get_xlim() for axis in figure.axes}) == 1
    save_figure(figure, tmp_path / 'new' / 'training.png')
    assert matplotlib.image.imread(tmp_path / 'new' / 'training.png').std() > 0


def test_a_colour_means_one_thing(curves):
    """Lines of the events run through the panels, so no curve has the colour of an event."""
    strip, *panels = plot_training(curves).axes

    of_curves = [axis.lines[0].get_color() for axis in panels]
    of_events = [colour for _, colour, _ in EVENTS.values()]
    assert len({*of_curves, *of_events}) == len(of_curves) + len(of_events) == 9
    drawn = {line.get_color() for axis in panels for line in axis.lines[1:]}
    assert drawn == {label.get_color() for label in strip.get_yticklabels()}


def test_panels_without_data_are_left_out():
    figure = plot_training(build_curves('run', [[dict(loss=1.0, iter=5, step=5)]]))

    assert [axis.get_ylabel() for axis in figure.axes] == ['training loss']


def test_paint():
    labels = np.array([[0, 2], [255, 1]])

    expected = np.array([[PALETTE[0], PALETTE[2]], [[0, 0, 0], PALETTE[1]]])
    assert np.array_equal(paint(labels, np.array(PALETTE)), expected)


@pytest.mark.parametrize(
    ('unlabelled', 'names'), [(255, ['road', 'sky', 'no label']), (0, ['road', 'sky'])]
)
def test_figure_of_predictions(unlabelled, names):
    image = np.zeros((6, 8, 3), np.uint8)
    truth = np.zeros((6, 8), int)
    truth[0, 0] = unlabelled
    figure = plot_predictions(
        [Prediction(image, truth, truth * 0 + 2)] * 2, ['road', 'car', 'sky'], PALETTE
    )

    assert [axis.get_title() for axis in figure.axes[:3]] == ['input', 'truth', 'prediction']
    assert len(figure.axes) == 6
    (legend,) = figure.legends
    assert [entry.get_text() for entry in legend.get_texts()] == names
