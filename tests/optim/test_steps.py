"""Which optimizers take steps as long as gradients are large, and how far one takes a weight."""

import pytest
import torch
from mmengine.registry import OPTIMIZERS
from torch import nn

from st_mm.optim import proportional, way_of_gradient


@pytest.mark.parametrize(
    'kind',
    [
        dict(type='SGD', momentum=0.9, nesterov=True),
        dict(type='ASGD'),
        dict(type='Adam', eps=1e-3),
        dict(type='AdamW'),
        dict(type='NAdam'),
        dict(type='Adagrad'),
        dict(type='RMSprop', momentum=0.9),
        dict(type='RMSpropEpsInRoot'),
        dict(type='Rprop'),
    ],
    ids=lambda kind: kind['type'],
)
def test_it_is_as_measured(kind: dict) -> None:
    """A hundred times the gradient: a step of a hundred times the length, or of nearly the same."""
    steps = []
    for gradient in (1.0, 100.0):
        weight = nn.Parameter(torch.zeros(1))
        optimizer = OPTIMIZERS.build(dict(params=[weight], lr=1e-2, **kind))
        for _ in range(3):
            weight.grad = torch.full((1,), gradient)
            optimizer.step()
        steps.append(float(weight.detach()))
    assert proportional(optimizer) == (steps[1] / steps[0] > 10)


INERT = [
    {},
    dict(momentum=0.9),
    dict(momentum=0.9, nesterov=True),
    dict(momentum=0.5, dampening=0.5),
]


@pytest.mark.parametrize('options', INERT, ids=str)
def test_the_way_of_a_gradient_is_as_measured(options: dict) -> None:
    """Of the last gradient and all that momentum makes of those before."""
    weight = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=0.05, **options)
    for gradient in ([1.0, -2.0, 0.5], [0.0, 1.0, 0.0], [0.3, 0.0, -4.0]):
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        before = weight.detach().clone()
        whole, carried = way_of_gradient(optimizer, weight, optimizer.param_groups[0])
        optimizer.step()
    ahead = torch.zeros(3) if carried is None else carried
    want = -(weight.grad + ahead) / whole
    weight.grad = torch.zeros_like(weight)
    for _ in range(500):
        optimizer.step()
    torch.testing.assert_close(weight.detach() - before, want)
