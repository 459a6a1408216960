"""The estimate by hand: folds, positions, loads and bytes."""

import pytest
import torch
from torch import nn

from st_mm.measure.accelerator import Engine, layer_times

ENGINE = Engine(multipliers=16, clock=1e6, inputs=16, loads=8, bandwidth=1e12, value=1)


def conv(zeros: int = 0) -> nn.Module:
    layer = nn.Conv2d(4, 8, 1, bias=False)  # 32 weights
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.weight.view(-1)[:zeros] = 0
    return nn.Sequential(layer)


@pytest.mark.parametrize(
    ('zeros', 'cycles'),
    [
        (0, 2 * (12 + 4) + 4),  # two full folds at 12 positions, a drain of log2(16), 32 / 8 loads
        (16, 1 * (12 + 4) + 2),
        (15, 2 * (12 + 4) + 3),  # 17 weights: a second fold for one of them
        (32, 0),
    ],
)
def test_compute(zeros: int, cycles: int) -> None:
    (layer,) = layer_times(conv(zeros), (4, 3, 4), ENGINE)
    assert layer.compute == pytest.approx(cycles / 1e6)
    assert layer.use == pytest.approx((32 - zeros) * 12 / (16 * cycles) if cycles else 0)
    assert layer.seconds == layer.compute or not cycles


def test_more_inputs_than_arrive_in_a_cycle() -> None:
    narrow = Engine(multipliers=16, clock=1e6, inputs=2, loads=8, bandwidth=1e12)
    (layer,) = layer_times(conv(), (4, 3, 4), narrow)
    assert layer.compute == pytest.approx((2 * (12 * 2 + 4) + 4) / 1e6)


def test_memory() -> None:
    slow = Engine(multipliers=16, clock=1e12, inputs=16, loads=8, bandwidth=1e3, value=2)
    (layer,) = layer_times(conv(16), (4, 3, 4), slow)
    moved = 4 * 12 + 8 * 12
    assert layer.seconds == layer.memory == pytest.approx((2 * (16 + moved) + 32 / 8) / 1e3)


def test_layers_run_in_their_order_and_zeros_pay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8))
    dense = layer_times(model, (3, 16, 16))
    assert [layer.name for layer in dense] == ['0', '2']
    with torch.no_grad():
        model[0].weight[:6] = 0
    sparse = layer_times(model, (3, 16, 16))
    assert sparse[0].seconds < dense[0].seconds
    assert sparse[1] == dense[1]
    assert not any(m._forward_hooks for m in model.modules())


def test_an_emptied_layer_takes_no_time() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False))
    model[0].weight = nn.Parameter(torch.zeros(0, 3, 1, 1))
    model[0].out_channels = 0
    assert layer_times(model, (3, 4, 4)) == []
