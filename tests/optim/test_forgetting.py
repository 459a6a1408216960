"""By when a weight has to be zero: what the average itself says, update by update."""

import pytest
import torch
from mmengine.model import ExponentialMovingAverage, MomentumAnnealingEMA, StochasticWeightAverage
from torch import nn

from st_mm.optim import RampedEMA, last_zero, still_there

UPDATES = 120
AVERAGES = dict(
    ramped=lambda model: RampedEMA(model, 1e-6),
    past_its_ramp=lambda model: RampedEMA(model, 0.15),
    constant=lambda model: ExponentialMovingAverage(model, 0.05),
    at_intervals=lambda model: ExponentialMovingAverage(model, 0.2, interval=4),
    annealed=lambda model: MomentumAnnealingEMA(model, 1e-4, gamma=9),
)


def left(kind: str, ones: int) -> float:
    """What is in the average after so many updates with 1, and then zeros."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    average = AVERAGES[kind](model)
    for number in range(UPDATES):
        if number == ones:
            nn.init.zeros_(model.weight)
        average.update_parameters(model)
    return float(average.module.weight.detach())


@pytest.mark.parametrize('kind', AVERAGES)
@pytest.mark.parametrize('share', [0.3, 0.03])
def test_it_is_the_last_time(kind: str, share: float) -> None:
    torch.manual_seed(0)
    time = last_zero(AVERAGES[kind](nn.Linear(1, 1)), UPDATES, share)
    assert 0 < time < UPDATES
    assert left(kind, time) <= share * (1 + 1e-5)
    later = 4 if kind == 'at_intervals' else 1
    assert left(kind, time + later) > share


@pytest.mark.parametrize('kind', AVERAGES)
def test_what_is_left_of_the_start(kind: str) -> None:
    """With zeros from the first update on; mmengine's own averages begin at a copy of it."""
    torch.manual_seed(0)
    share = still_there(AVERAGES[kind](nn.Linear(1, 1)), UPDATES)
    first = 0 if kind in ('ramped', 'past_its_ramp') else 1
    taken = dict(ramped=0, past_its_ramp=0, constant=0.05, at_intervals=0.2, annealed=1)[kind]
    assert share == pytest.approx(left(kind, first) * (1 - taken), rel=1e-4)


def test_no_time_is_long_enough_or_nothing_is_known() -> None:
    model = nn.Linear(1, 1)
    assert last_zero(ExponentialMovingAverage(model, 1e-4), UPDATES, 0.01) == 0
    assert last_zero(StochasticWeightAverage(model), UPDATES, 0.01) == UPDATES
    assert still_there(ExponentialMovingAverage(model, 1e-4), UPDATES) == pytest.approx(0.988, 1e-3)
    assert still_there(StochasticWeightAverage(model), UPDATES) == 0
