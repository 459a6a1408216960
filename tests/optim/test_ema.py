"""The arguments of the moving average; ``test_formulas.py`` has its values."""

from typing import Any

import pytest
import torch
from torch import nn

from st_mm.optim import RampedEMA


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        *[('momentum', value) for value in (True, '0.1', 0, 1, float('nan'), None)],
        *[('interval', value) for value in (0, True, 1.5, '2', None)],
        *[('device', value) for value in ('nowhere', 0, True, [], b'cpu')],
        *[('update_buffers', value) for value in ('False', 0, None)],
    ],
)
def test_arguments_that_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f'^{name} must be'):
        RampedEMA(nn.Linear(1, 1), **{name: value})


@pytest.mark.parametrize('device', [None, 'cpu', torch.device('cpu')])
def test_arguments_that_are_right(device: Any) -> None:
    average = RampedEMA(nn.Linear(1, 1), 0.1, interval=2, device=device, update_buffers=True)
    assert (average.interval, average.update_buffers) == (2, True)
