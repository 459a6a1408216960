"""The penalty: its value, its gradient, and its ramp."""

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from st_mm.models import HRFusionNeck, HRSupernet
from st_mm.optim import way_of_gradient
from st_mm.search import (
    Limit,
    PenaltyGradient,
    dead_units,
    input_sizes,
    penalty,
    ramp,
    shrink,
    unit_costs,
)
from st_mm.units import find_owners


class Net(nn.Module):
    def __init__(self, tokens=2) -> None:
        super().__init__()
        self.backbone = HRSupernet(
            stem_channels=(4, 4),
            stage_channels=((4,), (4, 4)),
            stage_blocks=((1,), (1, 1)),
            expand_ratio=1,
            tokens=tokens,
        )
        self.neck = HRFusionNeck((4, 4), 4, expand_ratio=1)
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight)

    def forward(self, x):
        return self.neck(self.backbone(x))[0].square().mean()


def prepare(model: Net):
    owners = find_owners(model)
    sizes = input_sizes(copy.deepcopy(model).float(), (3, 32, 32))
    return owners, unit_costs(owners, sizes)


def expected_gradients(model, costs, rho, x) -> dict[str, torch.Tensor]:
    """Autograd of loss + penalty, on a copy without hooks."""
    twin = Net().to(x.dtype)
    twin.load_state_dict(model.state_dict())
    owners = find_owners(twin)
    loss = twin.train(model.training)(x)
    for name, owner in owners.items():
        loss = loss + rho * (costs[name].to(x.dtype) * owner.unit_bn.weight.abs()).sum()
    loss.backward()
    return {name: p.grad for name, p in twin.named_parameters()}


def assert_gradients(model, expected, tolerance) -> None:
    for name, parameter in model.named_parameters():
        scale = expected[name].abs().max().item() if expected[name].numel() else 0
        torch.testing.assert_close(
            parameter.grad, expected[name], rtol=tolerance, atol=tolerance * scale, msg=name
        )


@pytest.mark.parametrize(
    ('dtype', 'tolerance'), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=str
)
@pytest.mark.parametrize('rho', [0.0, 1.4e-4, 3.0])
def test_gradient_equals_autograd(dtype, tolerance, rho) -> None:
    model = Net().to(dtype).train()
    owners, costs = prepare(model)
    owners['neck.block'].unit_bn.weight.data[:3] = 0  # the subgradient there is 0
    x = torch.randn(2, 3, 32, 32, dtype=dtype)
    expected = expected_gradients(model, costs, rho, x)
    gradient = PenaltyGradient(owners, costs)
    gradient.strength = rho
    model(x).backward()
    assert_gradients(model, expected, tolerance)


@pytest.mark.parametrize('held', [False, True])
def test_gradient_after_shrink(held) -> None:
    """Also while the loss of the last iteration is still held."""
    model = Net().double().train()
    owners, costs = prepare(model)
    gradient = PenaltyGradient(owners, costs)
    gradient.strength = 0.3
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    loss = model(x)
    loss.backward()
    if not held:
        del loss
    for _ in range(2):
        dead = {n: torch.rand(o.unit_bn.weight.numel()) < 0.4 for n, o in owners.items()}
        dead['backbone.stages.1.branches.1.0'][:] = True
        shrink(model, dead)
        costs = prepare(model)[1]
        gradient.update(costs)
        expected = expected_gradients(model, costs, 0.3, x)
        model.zero_grad()
        model(x).backward()
        assert_gradients(model, expected, 1e-12)


def test_accumulation_adds_it_per_backward() -> None:
    model = Net().double().eval()
    owners, costs = prepare(model)
    gradient = PenaltyGradient(owners, costs)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    expected = expected_gradients(model, costs, 0.5, x)
    gradient.strength = 0.5 / 2
    for _ in range(2):
        (model(x) / 2).backward()
    assert_gradients(model, expected, 1e-12)


def test_remove_leaves_the_gradient_alone() -> None:
    model = Net().double().eval()
    owners, costs = prepare(model)
    gradient = PenaltyGradient(owners, costs)
    gradient.strength = 1.0
    gradient.remove()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    model(x).backward()
    assert_gradients(model, expected_gradients(model, costs, 0, x), 1e-12)


def test_starts_off() -> None:
    model = Net()
    assert PenaltyGradient(*prepare(model)).strength == 0


def test_frozen_scales_stay_without_gradient() -> None:
    model = Net()
    owners, costs = prepare(model)
    scale = owners['neck.block'].unit_bn.weight
    scale.requires_grad_(False)
    PenaltyGradient(owners, costs).strength = 1.0
    model(torch.randn(2, 3, 32, 32)).backward()
    assert scale.grad is None


def test_penalty_changes_no_weight() -> None:
    model = Net()
    before = copy.deepcopy(model.state_dict())
    gradient = PenaltyGradient(*prepare(model))
    gradient.strength = 10.0
    model.eval()(torch.randn(2, 3, 32, 32)).backward()
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_descent_kills_units() -> None:
    """With nothing but the penalty, plain steps bring every scale into the dead zone."""
    model = Net().train()
    owners, costs = prepare(model)
    gradient = PenaltyGradient(owners, costs)
    gradient.strength = 1.0
    scales = [owner.unit_bn.weight for owner in owners.values()]
    gradient.update({name: torch.ones_like(cost) for name, cost in costs.items()})
    optimizer = torch.optim.SGD(scales, lr=5e-4)
    for scale in scales:
        scale.data.mul_(2e-3)
    zero = sum(0 * scale.sum() for scale in scales)
    for _ in range(40):
        optimizer.zero_grad()
        zero.backward(retain_graph=True)
        optimizer.step()
    assert all(mask.all() for mask in dead_units(owners, 1e-3).values())


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.floats(0, 10), st.integers(0, 2**31))
def test_value(rho, seed) -> None:
    torch.manual_seed(seed)
    model = Net(tokens=0)
    owners, costs = prepare(model)
    expected = sum(
        cost * abs(scale)
        for name, owner in owners.items()
        for cost, scale in zip(
            costs[name].tolist(), owner.unit_bn.weight.double().tolist(), strict=True
        )
    )
    value = penalty(owners, costs, rho)
    assert value.dtype == torch.float64
    assert not value.requires_grad
    assert value.item() == pytest.approx(rho * expected, rel=1e-12)


@pytest.mark.parametrize(
    ('progress', 'warmup', 'expected'),
    [(0, 25, 0), (5, 25, 0.2), (24.75, 25, 0.99), (25, 25, 1), (400, 25, 1), (0, 0, 1), (3, 0, 1)],
)
def test_ramp(progress, warmup, expected) -> None:
    assert ramp(progress, warmup) == pytest.approx(expected, rel=1e-15)


def test_value_without_owners() -> None:
    value = penalty({}, {}, 0.1)
    assert value.dtype == torch.float64
    assert value.item() == 0


@pytest.mark.parametrize(
    'rate',
    [
        lambda t: 0.01,
        lambda t: 0.01 if t > 6 else 0.0001,
        lambda t: 0.01 * min(1, (t + 1) / 50),
        lambda t: 0.01 * (t % 9 > 1),
    ],
    ids=['constant', 'jumps', 'rises', 'zero now and then'],
)
@pytest.mark.parametrize('steps', [4, 8, 100])
@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(momentum=0.9),
        dict(momentum=0.9, nesterov=True),
        dict(momentum=0.5, dampening=0.5),
    ],
    ids=str,
)
def test_a_limit_brings_scales_to_zero_and_not_through(
    options: dict, steps: int, rate: Callable[[int], float]
) -> None:
    """However strong the pull: not faster than said, and no momentum carries them through."""

    class Owner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unit_bn = nn.BatchNorm2d(3)
            self.unit_bn.weight.data = torch.tensor([1.0, -0.7, 0.2], dtype=torch.float64)

    owner = Owner()
    scale = owner.unit_bn.weight
    signs, path = scale.detach().sign(), [scale.detach().clone()]
    added = PenaltyGradient({'': owner}, {'': torch.tensor([1.0, 2.0, 3.0])})
    added.strength = 1e6
    optimizer = torch.optim.SGD([scale], lr=0.01, **options)
    [group] = optimizer.param_groups
    for t in range(2 * steps + 150):
        group['lr'] = rate(t)
        whole, carried = way_of_gradient(optimizer, scale, group)
        added.longest = {'': Limit(whole, 1 / steps, carried)}
        optimizer.zero_grad()
        (0 * scale).sum().backward()
        optimizer.step()
        path.append(scale.detach().clone())
    way = torch.stack(path) * signs
    assert way.min() > -1e-12
    assert way[-1].max() < 1e-3
    if rate(0) == rate(9):  # what momentum has is faster at a larger one
        assert (way[:-1] - way[1:]).max() <= 1 / steps + 1e-12
