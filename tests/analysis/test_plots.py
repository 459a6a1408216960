"""Figures of a training."""

import matplotlib.image

from st_mm.analysis.curves import build_curves
from st_mm.analysis.plots import EVENTS, plot_training, save_figure


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
    assert len({*of_curves, *of_events}) == len(of_curves) + len(of_events) == 10
    drawn = {line.get_color() for axis in panels for line in axis.lines[1:]}
    assert drawn == {label.get_color() for label in strip.get_yticklabels()}


def test_panels_without_data_are_left_out():
    figure = plot_training(build_curves('run', [[dict(loss=1.0, iter=5, step=5)]]))

    assert [axis.get_ylabel() for axis in figure.axes] == ['training loss']
