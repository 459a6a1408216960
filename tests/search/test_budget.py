"""The target of a search: what it takes, how the pull follows, and which dead units may go."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmpretrain.models import MobileNetV2
from torch import nn

from st_mm.measure import count_macs
from st_mm.models import HRFusionNeck, HRSupernet
from st_mm.search import Budget, Course, Savings, find_owners, input_sizes, shrink
from st_mm.search.budget import GAIN

PICTURE = (3, 64, 64)
START = dict(macs=1000.0, params=100.0)


def supernet(tokens: int = 0) -> nn.Module:
    backbone = HRSupernet(
        stem_channels=(4, 4),
        stage_channels=((4,), (4, 6)),
        stage_blocks=((1,), (1, 1)),
        expand_ratio=1,
        tokens=tokens,
    )
    return nn.Sequential(backbone, HRFusionNeck((4, 6), 4, expand_ratio=1))


NETWORKS = dict(
    supernet=supernet,
    tokens=lambda: supernet(2),
    mobile=lambda: MobileNetV2(widen_factor=0.25),
)


def size(model: nn.Module) -> dict[str, float]:
    params = sum(parameter.numel() for parameter in model.parameters())
    return dict(macs=count_macs(model, PICTURE).dense, params=params)


def savings(model: nn.Module) -> Savings:
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    return Savings(find_owners(model), input_sizes(model, PICTURE), shapes)


@pytest.mark.parametrize(
    ('target', 'message'),
    [
        (1e9, 'must be a dict of macs or params'),
        ({}, 'must be a dict of macs or params'),
        (dict(flops=1e9), "takes macs and params, got 'flops'"),
        (dict(macs=0), r"target\['macs'\] must be a number above 0, got 0"),
        (dict(macs=True), 'got True'),
        (dict(macs=float('nan')), 'got nan'),
        (dict(macs='35'), "like '35%', got '35'"),
        (dict(params='100%'), "got '100%'"),
        (dict(params='0%'), "got '0%'"),
        (dict(params='-5%'), "got '-5%'"),
        (dict(params=None), 'got None'),
    ],
)
def test_what_is_no_target(target: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Budget(target)


def test_shares_are_of_the_start() -> None:
    assert Budget(dict(macs='35%', params=7)).limits(START) == dict(macs=350, params=7)
    with pytest.raises(ValueError, match='macs=1000, but the training begins with 1,000'):
        Budget(dict(macs=1000)).limits(START)


def test_the_pull_grows_behind_the_line_and_falls_before_it() -> None:
    def after(macs: float, done: float) -> float:
        course = Course(dict(macs=500), START)
        course.advance(dict(macs=macs), done, warmup=10, total=100)
        return course.pull

    assert after(1000, 5) == 1  # in the warm-up nothing is asked for
    assert after(1000, 45) == pytest.approx(GAIN**0.5)  # half of the way to 80 of 100
    assert after(750, 45) == pytest.approx(1)
    assert after(600, 45) == pytest.approx(GAIN**-0.3)
    assert after(1000, 90) == pytest.approx(GAIN)
    assert after(502, 45) == 0  # near enough
    assert Course(dict(macs=500), START).excess(dict(macs=600)) == pytest.approx(0.2)


def test_a_warm_up_that_never_ends_asks_for_nothing() -> None:
    course = Course(dict(macs=500), START)
    course.advance(dict(macs=1000), 50, warmup=100, total=50)
    assert course.pull == 1


def test_of_two_targets_the_farther_one_counts() -> None:
    course = Course(dict(macs=500, params=90), START)
    course.advance(dict(macs=500, params=95), 45, warmup=10, total=100)
    assert course.pull == 1  # half of the way for the parameters
    assert course.excess(dict(macs=500, params=99)) == pytest.approx(0.1)


@pytest.mark.parametrize('network', NETWORKS)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(st.data())
def test_what_is_counted_is_what_goes(network: str, data: st.DataObject) -> None:
    model = NETWORKS[network]()
    costs = savings(model)
    seed = data.draw(st.integers(0, 1000))
    share = data.draw(st.floats(0, 1))
    random = torch.Generator().manual_seed(seed)
    dead = {}
    for name, owner in costs.owners.items():
        dead[name] = torch.rand(len(owner.unit_bn.weight), generator=random) < share
        dead[name][: owner.least_units] = False
    before, saved = size(model), costs.saved(dead)
    shrink(model, dead)
    assert {name: before[name] - saved[name] for name in before} == size(model)


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize('resource', ['macs', 'params'])
@pytest.mark.parametrize('share', [0.35, 0.6, 0.9])
def test_no_unit_goes_beyond_the_target(network: str, resource: str, share: float) -> None:
    model = NETWORKS[network]()
    costs = savings(model)
    for owner in costs.owners.values():
        nn.init.uniform_(owner.unit_bn.weight, 1e-4, 1e-3)
    dead = {n: owner.unit_bn.weight < 9e-4 for n, owner in costs.owners.items()}
    for name, owner in costs.owners.items():
        dead[name][: owner.least_units] = False
    start = size(model)
    reachable = start[resource] - costs.saved(dead)[resource]
    limit = reachable + (start[resource] - reachable) * share
    course = Course({resource: limit}, start)
    chosen = course.allowed(costs, dead, start)
    assert course.pull == 0
    gone = {name: mask for name, mask in dead.items() if chosen[name].any()}
    assert gone
    largest = max(float(costs.owners[n].unit_bn.weight[chosen[n]].max()) for n in gone)
    others = [costs.owners[n].unit_bn.weight[dead[n] & ~chosen[n]] for n in dead]
    assert torch.cat(others).min() >= largest  # the least important go first
    one_more = float(torch.cat(others).min())
    more = {n: m & (costs.owners[n].unit_bn.weight <= one_more) for n, m in dead.items()}
    assert start[resource] - costs.saved(chosen)[resource] >= limit
    assert start[resource] - costs.saved(more)[resource] < limit


def test_nothing_is_held_back_before_the_target() -> None:
    model = supernet()
    costs = savings(model)
    dead = {n: torch.arange(len(o.unit_bn.weight)) % 9 == 1 for n, o in costs.owners.items()}
    course = Course(dict(macs=1.0), size(model))
    chosen = course.allowed(costs, dead, size(model))
    assert all(torch.equal(chosen[name], mask) for name, mask in dead.items())
    assert course.pull == 1


def test_savings_where_all_units_of_a_kernel_are_gone() -> None:
    model = supernet()
    dead = {}
    for name, owner in find_owners(model).items():
        units = len(owner.unit_bn.weight)
        dead[name] = torch.arange(units) < units // 3  # those of the smallest kernel
    shrink(model, dead)
    left = savings(model)
    before = size(model)
    dead = {n: torch.arange(len(o.unit_bn.weight)) < 1 for n, o in find_owners(model).items()}
    saved = left.saved(dead)
    shrink(model, dead)
    after = size(model)
    assert saved == {name: before[name] - after[name] for name in before}
