"""Schedules: pure functions of time that agree with one another."""

import copy
import dataclasses
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from st_mm.prune import Progressive

FEW = settings(max_examples=40, deadline=None, derandomize=True)


@st.composite
def schedules(draw) -> Progressive:
    begin = draw(st.integers(0, 30))
    interval = draw(st.integers(1, 30))
    end = draw(st.one_of(st.none(), st.integers(begin + interval, begin + interval + 200)))
    ratio = draw(st.one_of(st.floats(0.01, 0.99), st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9])))
    step = draw(st.one_of(st.floats(0.01, 1), st.sampled_from([0.1, 0.05, 1.0])))
    return Progressive(ratio, interval, step, begin, end)


@FEW
@given(schedules())
def test_pure_and_monotone(schedule) -> None:
    times = range(400)
    ratios = [schedule.ratio_at(t) for t in times]
    again = copy.deepcopy(schedule)
    assert [again.ratio_at(t) for t in reversed(times)] == ratios[::-1]
    assert all(a <= b for a, b in pairwise(ratios))
    assert ratios[0] == 0
    assert max(ratios) <= schedule.ratio
    assert hash(again) == hash(schedule)


@FEW
@given(schedules())
def test_ratio_changes_only_when_due(schedule) -> None:
    prunes = 0
    for t in range(400):
        due = schedule.due(t)
        prunes += due
        assert schedule.ratio_at(t) == pytest.approx(
            min(schedule.ratio, schedule.step * prunes), abs=1e-11
        )
        if t and schedule.ratio_at(t) != schedule.ratio_at(t - 1):
            assert due
        assert due == (
            t > schedule.begin
            and (t - schedule.begin) % schedule.interval == 0
            and (schedule.end is None or t <= schedule.end)
        )


@FEW
@given(schedules(), st.integers(0, 400))
def test_last_is_the_last_that_is_due(schedule, total) -> None:
    due = [t for t in range(total + 1) if schedule.due(t)]
    assert schedule.last(total) == (due[-1] if due else None)
    assert schedule.ratio_at(total) == schedule.ratio_at(due[-1] if due else 0)


@FEW
@given(schedules())
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


def test_one_shot() -> None:
    schedule = Progressive(0.9, 10, step=1)
    assert [schedule.ratio_at(t) for t in (0, 9, 10, 20)] == [0, 0, 0.9, 0.9]


def test_begin_and_end() -> None:
    schedule = Progressive(0.9, 10, begin=5, end=34)
    assert [t for t in range(60) if schedule.due(t)] == [15, 25]
    assert [schedule.ratio_at(t) for t in (5, 14, 15, 25, 59)] == [0, 0, 0.1, 0.2, 0.2]
    assert [schedule.last(t) for t in (14, 15, 24, 25, 100)] == [None, 15, 15, 25, 25]


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(ratio=0), 'ratio'),
        (dict(ratio=1), 'ratio'),
        (dict(ratio=-0.1), 'ratio'),
        (dict(ratio=90), 'ratio'),
        (dict(ratio=float('nan')), 'ratio'),
        (dict(interval=0), 'interval'),
        (dict(interval=-3), 'interval'),
        (dict(interval=2.5), 'interval'),
        (dict(interval=float('inf')), 'interval'),
        (dict(step=0), 'step'),
        (dict(step=-0.1), 'step'),
        (dict(step=1.1), 'step'),
        (dict(step=float('nan')), 'step'),
        (dict(begin=-1), 'begin'),
        (dict(end=0), 'end'),
        (dict(end=9), 'end'),
        (dict(begin=5, end=14), 'end'),
        (dict(begin=0.5), 'begin'),
        (dict(end=15.5), 'end'),
        (dict(end=float('inf')), 'end'),
    ],
    ids=str,
)
def test_bad_values(kwargs, message) -> None:
    with pytest.raises(ValueError, match=f'^{message} must'):
        Progressive(**{'ratio': 0.5, 'interval': 10, **kwargs})


def test_end_may_be_the_first_prune() -> None:
    schedule = Progressive(0.5, 10, begin=5, end=15)
    assert [t for t in range(60) if schedule.due(t)] == [15]


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Progressive(0.5, 10).ratio = 0.6
