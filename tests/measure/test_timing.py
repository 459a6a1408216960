"""Variants take turns, and a ratio is that of their times, whatever the clock."""

import pytest

from st_mm.measure.timing import alternate, take_turns


class Bench:
    """Variants that move a clock of their own by what they cost, and note when they run."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def arm(self, name: str, seconds: float):
        def run() -> None:
            self.now += seconds
            self.calls.append(name)

        return run

    def clock(self) -> float:
        return self.now


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_every_other_round_goes_backwards_and_the_first_call_does_not_count(bench) -> None:
    arms = [bench.arm('a', 1), bench.arm('b', 3)]
    rounds = take_turns(arms, 2, (bench.clock, lambda: 2 * bench.now))
    assert bench.calls == list('aabbbbaa')
    assert rounds == [[(1, 2), (3, 6)]] * 2


def test_alternate_gives_ratios_to_the_base(bench) -> None:
    base, others = bench.arm('a', 2), [bench.arm('b', 1), bench.arm('c', 5)]
    found = alternate(base, others, 3, bench.clock)
    assert found == [(0.5, '1.000 s / 2.000 s'), (2.5, '5.000 s / 2.000 s')]


def test_machine_that_slows_down_changes_no_ratio(bench) -> None:
    cost = {'a': 1.0, 'b': 4.0}

    def slower(name: str):
        def run() -> None:
            cost.update({key: value * 1.01 for key, value in cost.items()})
            bench.now += cost[name]

        return run

    [(ratio, _)] = alternate(slower('a'), [slower('b')], 4, bench.clock)
    assert ratio == pytest.approx(4, rel=0.05)
