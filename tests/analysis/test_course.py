"""How far a search has come: what the record says of it, in words and in the plot."""

from collections.abc import Callable

import pytest

from st_mm.analysis.course import courses
from st_mm.analysis.curves import Record, build_curves
from st_mm.analysis.plots import plot_training
from st_mm.ticket import Ticket

N = 10  # iterations per epoch of the logs
AIM = dict(kind='target', unit='epoch', t=0, macs=500.0, start_macs=1000, start_params=80)
STEP = dict(kind='search', unit='epoch', t=3, removed=30, units=60, macs=640, pull=2.0)
OLD = {**STEP, 'start_macs': 1000, 'start_params': 80}  # without an event of the target before it
CONFIG = dict(SearchHook=dict(target=dict(macs='50%')))


@pytest.mark.parametrize(
    ('events', 'config', 'said'),
    [
        (
            [AIM],
            CONFIG,
            '1,000 MACs at the start, target 500; no search step yet',
        ),
        (
            [AIM, STEP],
            CONFIG,
            '1,000 MACs at the start, target 500; 640 at epoch 3, +28.0 %: not reached',
        ),
        (
            [AIM, STEP, {**STEP, 't': 6, 'macs': 505}],
            CONFIG,
            '1,000 MACs at the start, target 500; 505 at epoch 6, +1.0 %: reached',
        ),
        (
            [AIM, STEP, {**AIM, 't': 4, 'macs': 400.0}, {**STEP, 't': 6, 'macs': 505}],
            CONFIG,
            '1,000 MACs at the start, target 400; 505 at epoch 6, +26.2 %: not reached',
        ),
        (
            [OLD],
            CONFIG,
            '1,000 MACs at the start, target 500; 640 at epoch 3, +28.0 %: not reached',
        ),
    ],
    ids=['begun', 'on the way', 'there', 'another target', 'record of an older version'],
)
def test_in_words(events: list, config: dict, said: str) -> None:
    [course] = courses(Ticket(events=events, config=config))
    assert str(course) == said


def test_of_seconds_and_without_a_target() -> None:
    aim = dict(kind='target', unit='iter', t=0, latency=0.02, start_macs=1, start_latency=0.05)
    [course] = courses(Ticket(events=[aim, dict(kind='search', unit='iter', t=9, latency=0.0201)]))
    assert str(course) == '50 ms at the start, target 20 ms; 20.1 ms at iter 9, +0.5 %: reached'
    older = Ticket(events=[{**OLD, 'params': 5}], config=dict(SearchHook=dict(target=None)))
    assert courses(older) == courses(Ticket()) == courses(Ticket(events=[dict(kind='prune')])) == []
    # params were not logged at search steps before a target of them was
    config = dict(SearchHook=dict(target=dict(params='50%')))
    assert courses(Ticket(events=[OLD], config=config)) == []


def test_the_plot_has_the_target(log: Callable[..., list[dict]]) -> None:
    lines = [
        {**line, 'search/macs': 1000 if line['step'] < 3 * N else 640, 'target/macs': 500.0}
        if 'loss' in line
        else line
        for line in log(1, 4, 2.0)
    ]
    [size] = build_curves('run', [lines]).sizes
    assert (size.name, size.target, size.series.y[0], size.series.y[-1]) == ('macs', 500, 1000, 640)
    *_, panel = plot_training(build_curves('run', [lines])).axes
    assert panel.get_ylabel() == 'MACs'
    assert [text.get_text() for text in panel.texts] == ['target']
    assert any(list(line.get_ydata()) == [500, 500] for line in panel.lines)


def test_the_plot_of_an_older_training(log: Callable[..., list[dict]]) -> None:
    """Its log does not say the target, its record does."""
    lines = [{**line, 'search/macs': 1000} if 'loss' in line else line for line in log(1, 4, 2.0)]
    record = Record(Ticket(events=[OLD], config=CONFIG), 3, 3 * N)
    [size] = build_curves('run', [lines], record).sizes
    assert size.target == 500
    assert not build_curves('run', [lines]).sizes
