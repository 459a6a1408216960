"""Curves from logs as mmengine writes them, and the figures drawn from them."""

import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

from st_mm.analysis.curves import Curves, Event, Record, build_curves, read_curves
from st_mm.analysis.plots import Prediction, paint, plot_predictions, plot_training, save_figure
from st_mm.ticket import Ticket

N = 10  # iterations per epoch; logged are the 4th and the 8th


def log(first: int, last: int, loss: float, density: float = 1.0, units: int = 90) -> list[dict]:
    """Scalars of the epochs from first to last: a prune after every 2nd, a search after the 3rd."""
    lines = []
    for epoch in range(first, last + 1):
        for inner in (4, 8):
            step = N * (epoch - 1) + inner
            figures = {'prune/density': density, 'search/units': units}
            lines.append(dict(loss=loss, epoch=epoch, iter=step, step=step, **figures))
        if epoch == 3:
            units = 60
            figures = {'search/removed': 30, 'search/units': units}
            lines.append({**figures, 'search/macs': 1, 'step': N * epoch})
            lines.append({'reactivate/freed': 5, 'reactivate/density': 1.0, 'step': N * epoch})
        if epoch % 2 == 0:
            density = round(density - 0.2, 1)
            lines.append({'prune/ratio': 0.2, 'prune/density': density, 'step': N * epoch})
        lines.append({'aAcc': 1.0, 'mIoU': 10.0 * epoch, 'time': 0.1, 'step': epoch})
    return lines


def write(work_dir: Path, timestamp: str, lines: list[dict]) -> Path:
    path = work_dir / timestamp / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return path


@pytest.fixture
def curves() -> Curves:
    return build_curves('run', [log(1, 4, 2.0)])


def test_time_runs_in_epochs(curves):
    assert curves.unit == 'epoch'
    assert curves.loss.x == (0.4, 0.8, 1.4, 1.8, 2.4, 2.8, 3.4, 3.8)
    assert curves.metric == 'mIoU'
    assert (curves.score.x, curves.score.y) == ((1, 2, 3, 4), (10, 20, 30, 40))


def test_events_and_what_they_change(curves):
    assert curves.events == (
        Event('prune', 2, density=0.8),
        Event('search', 3),
        Event('reactivate', 3, density=1.0),
        Event('prune', 4, density=0.6),
    )
    # not what the training lines repeat after the weights were set free
    assert (curves.density.x, curves.density.y) == ((0.4, 2, 3, 4), (1.0, 0.8, 1.0, 0.6))
    assert dict(zip(curves.units.x, curves.units.y, strict=True))[3] == 60


def test_a_resumed_run_replaces_what_it_repeats(tmp_path):
    write(tmp_path, '20260101_000000', log(1, 4, 2.0))
    write(tmp_path, '20260102_000000', log(4, 6, 1.0, density=0.8, units=60))
    joined = read_curves(tmp_path)

    assert joined.name == tmp_path.name
    assert joined.loss.x == tuple(e + inner for e in range(6) for inner in (0.4, 0.8))
    assert joined.loss.y == (2.0,) * 6 + (1.0,) * 6
    assert joined.score.x == (1, 2, 3, 4, 5, 6)
    assert [(event.kind, event.x) for event in joined.events] == [
        ('prune', 2), ('search', 3), ('reactivate', 3), ('prune', 4), ('prune', 6),
    ]  # fmt: skip


def test_the_newest_checkpoint_names_the_events(tmp_path):
    write(tmp_path, '20260101_000000', log(1, 4, 2.0))
    events = [
        dict(kind='search', unit='epoch', t=1, removed=0, units=90),
        dict(kind='prune', unit='epoch', t=3, ratio=0.5, density=0.5),
    ]
    meta = dict(epoch=3, iter=3 * N, ticket=Ticket(events=events).to_meta())
    torch.save(dict(meta=meta, state_dict={}), tmp_path / 'epoch_3.pth')

    assert read_curves(tmp_path).events == (
        Event('search', 1, taken=False),
        Event('prune', 3, density=0.5),
        Event('prune', 4, density=0.6),  # logged after the checkpoint
    )


def test_time_in_iterations():
    lines = [
        {'loss': 1.0, 'iter': 50, 'step': 50},
        {'prune/ratio': 0.1, 'prune/density': 0.9, 'step': 60},
        {'loss': 0.5, 'iter': 100, 'step': 100},
        {'accuracy/top1': 70.0, 'step': 100},
    ]
    curves = build_curves('run', [lines])

    assert (curves.unit, curves.metric) == ('iteration', 'accuracy/top1')
    assert (curves.loss.x, curves.score.x) == ((50, 100), (100,))
    assert curves.events == (Event('prune', 60, density=0.9),)


def test_validations_stepped_by_iteration_are_put_on_the_epochs():
    lines = [
        {**line, 'step': N * line['step']} if 'mIoU' in line else line for line in log(1, 4, 2)
    ]

    assert build_curves('run', [lines]).score.x == (1, 2, 3, 4)


def test_the_iterations_of_a_record_come_first():
    lines = [dict(loss=1.0, epoch=1, iter=4, step=4)]

    assert build_curves('run', [lines], Record(None, 2, 2 * N)).loss.x == (0.4,)


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path):
    path = write(tmp_path, '20260101_000000', log(1, 2, 2.0))
    path.write_text(path.read_text() + '{"loss": 1.')

    assert len(read_curves(path).loss.x) == 4


@pytest.mark.parametrize('content', ['hello\nworld\n', '[1]\n', ''])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / 'scalars.json'
    path.write_text(content)
    with pytest.raises(ValueError, match=r'no scalars file|no training loss'):
        read_curves(path)


def test_a_folder_without_logs_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'scalars\.json'):
        read_curves(tmp_path)


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


def test_panels_without_data_are_left_out():
    figure = plot_training(build_curves('run', [[dict(loss=1.0, iter=5, step=5)]]))

    assert [axis.get_ylabel() for axis in figure.axes] == ['training loss']


PALETTE = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


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
