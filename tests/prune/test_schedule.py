"""Schedules: pure functions of time that agree with one another."""

import copy
import dataclasses
import logging
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

from st_mm.prune import SCHEDULES, Constant, Cubic, OneShot, Progressive, Schedule

FEW = settings(max_examples=40, deadline=None, derandomize=True)
TIMES = range(400)
RATIOS = st.one_of(st.floats(0.01, 0.99), st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]))
BEGINS = st.integers(0, 30)
INTERVALS = st.integers(1, 30)


@st.composite
def progressives(draw) -> Progressive:
    begin, interval = draw(BEGINS), draw(INTERVALS)
    end = draw(st.none() | st.integers(begin + interval, begin + interval + 200))
    step = draw(st.floats(0.01, 1) | st.sampled_from([0.1, 0.05, 1.0]))
    return Progressive(draw(RATIOS), interval, step, begin, end)


@st.composite
def cubics(draw) -> Cubic:
    begin, interval, ratio = draw(BEGINS), draw(INTERVALS), draw(RATIOS)
    end = draw(st.integers(begin + interval, begin + interval + 200))
    start = draw(st.just(0.0) | st.floats(0, ratio, exclude_max=True))
    return Cubic(ratio, end, begin, interval, start)


@st.composite
def constants(draw) -> Constant:
    begin, interval = draw(BEGINS), draw(st.none() | INTERVALS)
    end = draw(st.none() | st.integers(begin, begin + 200)) if interval else None
    return Constant(draw(RATIOS), begin, interval, end)


one_shots = st.builds(OneShot, RATIOS, st.integers(0, 200))
schedules = st.one_of(progressives(), cubics(), constants(), one_shots)
full = st.one_of(cubics(), constants(), one_shots)  # reach the ratio whatever their arguments


def due(schedule: Schedule, times: range = TIMES) -> list[int]:
    return [t for t in times if schedule.due(t)]


@FEW
@given(schedules)
def test_pure_and_monotone(schedule) -> None:
    ratios = [schedule.ratio_at(t) for t in TIMES]
    again = copy.deepcopy(schedule)
    assert [again.ratio_at(t) for t in reversed(TIMES)] == ratios[::-1]
    assert hash(again) == hash(schedule)
    assert all(a <= b for a, b in pairwise(ratios))
    assert ratios[0] >= 0
    assert max(ratios) <= schedule.ratio


@FEW
@given(schedules)
def test_ratio_changes_only_when_due(schedule) -> None:
    times = due(schedule)
    assert all(schedule.ratio_at(t) == 0 for t in TIMES if not times or t < times[0])
    for t in TIMES[1:]:
        assert schedule.due(t) or schedule.ratio_at(t) == schedule.ratio_at(t - 1)


@FEW
@given(schedules, st.integers(0, 400))
def test_last_is_the_last_that_is_due(schedule, total) -> None:
    times = due(schedule, range(total + 1))
    assert schedule.last(total) == (times[-1] if times else None)
    assert schedule.ratio_at(total) == (schedule.ratio_at(times[-1]) if times else 0)


@FEW
@given(schedules)
def test_due_is_periodic_within_bounds(schedule) -> None:
    fields = dict(begin=0, end=None, interval=None) | dataclasses.asdict(schedule)
    times = due(schedule)
    assert all(t >= fields['begin'] for t in times)
    assert fields['end'] is None or all(t <= fields['end'] for t in times)
    assert len({b - a for a, b in pairwise(times)} - {fields['interval']}) == 0
    if len(times) > 1 and fields['end'] is not None:
        assert times[-1] + fields['interval'] > fields['end']


@FEW
@given(full)
def test_exact_ratio_at_the_last(schedule) -> None:
    last = schedule.last(1000)
    assert schedule.due(last)
    assert schedule.ratio_at(last) == schedule.ratio_at(10**9) == schedule.ratio


# Progressive


@FEW
@given(progressives())
def test_progressive_steps(schedule) -> None:
    prunes = 0
    for t in TIMES:
        prunes += schedule.due(t)
        assert schedule.ratio_at(t) == pytest.approx(
            min(schedule.ratio, schedule.step * prunes), abs=1e-11
        )
        assert schedule.due(t) == (
            t > schedule.begin
            and (t - schedule.begin) % schedule.interval == 0
            and (schedule.end is None or t <= schedule.end)
        )


@FEW
@given(progressives())
def test_ratio_is_reached_if_time_is_left(schedule) -> None:
    prunes = -(-schedule.ratio // schedule.step)  # ceil
    time = schedule.begin + int(prunes + 1) * schedule.interval
    if schedule.end is None or schedule.end >= time:
        assert schedule.ratio_at(time) == schedule.ratio


@pytest.mark.parametrize('tenths', range(1, 10))
def test_published(tenths) -> None:
    """min(p, 10 % * floor(t / t_p)), in exact tenths."""
    schedule = Progressive(0.9, 25)
    assert schedule.ratio_at(25 * tenths) == tenths / 10
    assert schedule.ratio_at(25 * tenths - 1) == (tenths - 1) / 10
    assert schedule.ratio_at(425) == 0.9
    assert schedule.last(430) == 425
    assert Progressive(0.55, 25).ratio_at(150) == 0.55


def test_progressive_at_once() -> None:
    schedule = Progressive(0.9, 10, step=1)
    assert [schedule.ratio_at(t) for t in (0, 9, 10, 20)] == [0, 0, 0.9, 0.9]


def test_begin_and_end() -> None:
    schedule = Progressive(0.9, 10, begin=5, end=34)
    assert due(schedule) == [15, 25]
    assert [schedule.ratio_at(t) for t in (5, 14, 15, 25, 59)] == [0, 0, 0.1, 0.2, 0.2]
    assert [schedule.last(t) for t in (14, 15, 24, 25, 100)] == [None, 15, 15, 25, 25]


def test_end_may_be_the_first_prune() -> None:
    assert due(Progressive(0.5, 10, begin=5, end=15)) == [15]


# OneShot


@pytest.mark.parametrize('at', [0, 1, 7])
def test_one_shot(at) -> None:
    schedule = OneShot(0.9, at)
    assert due(schedule) == [at]
    assert [schedule.ratio_at(t) for t in TIMES] == [0] * at + [0.9] * (400 - at)
    assert schedule.last(at) == at
    assert schedule.last(at - 1) is None


# Cubic


@FEW
@given(cubics())
def test_cubic_is_the_published_curve(schedule) -> None:
    times = due(schedule)
    spans = (schedule.end - schedule.begin) // schedule.interval
    assert times == [schedule.begin + i * schedule.interval for i in range(spans + 1)]
    for t in times:
        to_come = 1 - (t - schedule.begin) / (spans * schedule.interval)
        expected = schedule.ratio + (schedule.start - schedule.ratio) * to_come**3
        assert schedule.ratio_at(t) == pytest.approx(expected, abs=1e-12)
    assert schedule.ratio_at(schedule.begin) == pytest.approx(schedule.start, abs=1e-12)


def test_cubic_off_the_interval() -> None:
    """The last prune comes before an end that is not a multiple, with the whole ratio."""
    schedule = Cubic(0.8, end=12, begin=2, interval=4)
    assert due(schedule) == [2, 6, 10]
    assert [schedule.ratio_at(t) for t in (0, 2, 6, 10, 12)] == pytest.approx(
        [0, 0, 0.8 * (1 - 1 / 8), 0.8, 0.8]
    )


# Constant


def test_constant() -> None:
    assert due(Constant(0.5)) == [0]
    assert due(Constant(0.5, begin=3)) == [3]
    assert due(Constant(0.5, begin=3, interval=100)) == [3, 103, 203, 303]
    schedule = Constant(0.5, begin=3, interval=5, end=14)
    assert due(schedule) == [3, 8, 13]
    assert [schedule.ratio_at(t) for t in (0, 2, 3, 8, 99)] == [0, 0, 0.5, 0.5, 0.5]
    assert due(Constant(0.5, begin=3, interval=5, end=3)) == [3]


# All


MINIMAL = {
    Progressive: dict(ratio=0.5, interval=10),
    OneShot: dict(ratio=0.5, at=3),
    Cubic: dict(ratio=0.5, end=40),
    Constant: dict(ratio=0.5),
}
NO_NUMBERS = [True, '0.5', None, float('nan'), float('inf'), [0.5]]
NO_INTEGERS = [True, '3', 2.5, 3.0, float('nan'), float('inf'), -1]
WRONG = [
    *((kind, dict(ratio=v)) for kind in MINIMAL for v in [*NO_NUMBERS, 0, 1, -0.1, 90]),
    *((Progressive, dict(interval=v)) for v in [*NO_INTEGERS, None, 0]),
    *((Progressive, dict(step=v)) for v in [*NO_NUMBERS, 0, -0.1, 1.1]),
    *((Progressive, dict(begin=v)) for v in [*NO_INTEGERS, None]),
    *((Progressive, dict(end=v)) for v in [*NO_INTEGERS, 0, 9]),
    *((OneShot, dict(at=v)) for v in [*NO_INTEGERS, None]),
    *((Cubic, dict(end=v)) for v in [*NO_INTEGERS, None, 0]),
    *((Cubic, dict(begin=v)) for v in [*NO_INTEGERS, None]),
    *((Cubic, dict(interval=v)) for v in [*NO_INTEGERS, None, 0]),
    *((Cubic, dict(start=v)) for v in [*NO_NUMBERS, -0.1, 0.5, 0.6]),
    *((Constant, dict(begin=v)) for v in [*NO_INTEGERS, None]),
    *((Constant, dict(interval=v)) for v in [*NO_INTEGERS, 0]),
]


@pytest.mark.parametrize(('kind', 'wrong'), WRONG, ids=str)
def test_bad_values(kind, wrong) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f'^{name} must'):
        kind(**MINIMAL[kind] | wrong)


@pytest.mark.parametrize(
    ('kind', 'fields'),
    [
        (Progressive, dict(begin=5, end=14)),
        (Cubic, dict(begin=35, interval=6)),
        (Constant, dict(begin=5, interval=3, end=4)),
        (Constant, dict(begin=5, interval=3, end=True)),
        (Constant, dict(end=10)),
    ],
    ids=str,
)
def test_ends_that_leave_no_room(kind, fields) -> None:
    with pytest.raises(ValueError, match=r'^end must'):
        kind(**MINIMAL[kind] | fields)


@pytest.mark.parametrize('kind', list(MINIMAL))
def test_frozen(kind) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind(**MINIMAL[kind]).ratio = 0.6


@pytest.mark.parametrize('scope', ['mmengine', 'mmseg'])
@pytest.mark.parametrize('kind', list(MINIMAL))
def test_built_from_a_config(kind, scope, caplog, monkeypatch) -> None:
    """In a task's scope as well, without a warning."""
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, 'handlers', [caplog.handler])
    cfg = dict(type=kind.__name__, **MINIMAL[kind])
    before = copy.deepcopy(cfg)
    with DefaultScope.overwrite_default_scope(scope):
        assert SCHEDULES.build(cfg) == kind(**MINIMAL[kind])
        assert SCHEDULES.build(cfg | dict(type=kind)) == kind(**MINIMAL[kind])
    assert cfg == before
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize('cfg', [dict(type='Cubik', ratio=0.5), dict(ratio=0.5), 'Cubic', None])
def test_bad_configs(cfg) -> None:
    with pytest.raises(ValueError, match='prune schedule must be'):
        SCHEDULES.build(cfg)
