"""Which optimizers take steps as long as gradients are large."""

import pytest
import torch
from mmengine.registry import OPTIMIZERS
from torch import nn

from st_mm.optim import proportional


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
