"""The target of a search: what it takes, how the pull follows, and which dead units may go."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmpretrain.models import MobileNetV2
from torch import nn

from st_mm.measure import count_macs
from st_mm.models import HRFusionNeck, HRSupernet
from st_mm.search import (
    Budget,
    Course,
    Macs,
    Params,
    Savings,
    find_owners,
    input_sizes,
    shrink,
    way_left,
)
from st_mm.search.budget import FASTER, LATE, SEARCHING, SLOWER, STRONGEST, until_target

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
    macs = Macs(model, input_sizes(model, PICTURE), PICTURE)
    return Savings(find_owners(model), dict(macs=macs, params=Params(model)))


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


def after(
    left: float,
    done: float,
    last: float = 1.0,
    macs: float = 900,
    pull: float = 8,
    line: float = 0.6,
) -> float:
    """The pull after a step, of a training of 100 with a step every 5 and a warm-up of 10."""
    course = Course(dict(macs=500), START, 1.0, pull, last, line)
    course.advance(dict(macs=macs), left, done, interval=5, warmup=10, total=100)
    return course.pull


def test_the_pull_follows_how_fast_the_scales_have_to_fall() -> None:
    """At 40, four steps are left to 60: of 0.4 of the way, each has to make 0.1."""
    assert after(left=0.4, last=0.5, done=40) == pytest.approx(8)
    assert after(left=0.4, last=0.44, done=40) == pytest.approx(8 * 2.5)
    assert after(left=0.4, last=0.525, done=40) == pytest.approx(8 * 0.8)
    assert after(left=0.4, last=0.9, done=40) == pytest.approx(8 * SLOWER)
    assert after(left=0.4, last=0.4, done=40) == pytest.approx(8 * FASTER)
    assert after(left=0.4, last=0.5, done=20, line=0.4) == pytest.approx(8)
    assert after(left=0.4, last=0.39, done=70) == pytest.approx(8 * FASTER)  # past the line
    assert after(left=0.1, last=0.9, done=70) == pytest.approx(8 * LATE)


def test_a_pull_that_moves_nothing_is_searched_in_large_steps() -> None:
    assert after(left=0.99, last=1, done=10) == pytest.approx(8 * 0.099 / 0.01)
    assert after(left=1.01, last=1, done=10) == pytest.approx(8 * SEARCHING)
    assert after(left=0.99, last=0.5, done=10) == pytest.approx(8 * FASTER)  # it has moved before
    assert after(left=1.01, last=1, done=9) == 8  # in the warm-up nothing is asked for
    assert after(left=1, last=1, done=10, pull=1e5) == STRONGEST


def test_the_pull_holds_scales_that_are_there_and_rests_at_the_target() -> None:
    assert after(left=0, last=0.2, done=40) == 8
    assert after(left=0.001, last=0.2, done=40, macs=502) == 0  # near enough
    assert after(left=0.2, last=0.2, done=45, pull=0) == 0
    assert Course(dict(macs=500), START, 1).excess(dict(macs=600)) == pytest.approx(0.2)


def test_of_two_targets_the_farther_one_counts() -> None:
    course = Course(dict(macs=500, params=90), START, 1)
    assert course.excess(dict(macs=500, params=99)) == pytest.approx(0.1)


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize('resource', ['macs', 'params'])
def test_the_way_is_that_of_the_last_unit_that_has_to_go(network: str, resource: str) -> None:
    """Scales of units that may stay do not count; at the threshold nothing is left."""
    model = NETWORKS[network]()
    costs = savings(model)
    start = size(model)
    limits = {resource: 0.8 * start[resource] + 0.2 * (start[resource] - costs.most()[resource])}
    for owner in costs.owners.values():
        nn.init.ones_(owner.unit_bn.weight)
    chosen = until_target(limits, costs, costs.removable(), start)
    assert way_left(limits, costs, start, 0.01) == pytest.approx(0.99)
    for name, owner in costs.owners.items():
        owner.unit_bn.weight.data[chosen[name]] = 0.1
        owner.unit_bn.weight.data[~chosen[name]] *= 7
    last = next(name for name, mask in chosen.items() if mask.any())
    costs.owners[last].unit_bn.weight.data[chosen[last].nonzero()[0]] = 0.5
    assert way_left(limits, costs, start, 0.01) == pytest.approx(0.49)
    for name, owner in costs.owners.items():
        owner.unit_bn.weight.data[chosen[name]] = 0.01
    assert way_left(limits, costs, start, 0.01) == pytest.approx(0, abs=1e-6)
    assert way_left(start, costs, start, 0.01) == 0  # nothing has to go


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
    course = Course({resource: limit}, start, 1)
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
    course = Course(dict(macs=1.0), size(model), 1)
    chosen = course.allowed(costs, dead, size(model))
    assert all(torch.equal(chosen[name], mask) for name, mask in dead.items())
    assert course.pull == 1


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize('resource', ['macs', 'params'])
def test_what_each_unit_saves_alone(network: str, resource: str) -> None:
    model = NETWORKS[network]()
    costs = savings(model)
    for name, each in costs.costs[resource].units(costs.owners).items():
        for unit in {0, len(each) - 1}:
            alone = {name: torch.arange(len(each)) == unit}
            assert costs.saved(alone)[resource] == float(each[unit])


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
