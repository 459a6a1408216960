"""Units: who owns them, what they cost, and when they are dead."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from st_mm.measure import count_macs
from st_mm.models import AtomicBlock, HRFusionNeck, HRSupernet, TokenMixer
from st_mm.search import (
    count_units,
    dead_units,
    importance,
    input_sizes,
    saved_macs,
    shrink,
    unit_costs,
    units_macs,
)
from st_mm.units import UnitOwner, find_owners

FEW = settings(max_examples=25, deadline=None, derandomize=True)


def build(tokens=0) -> nn.Sequential:
    backbone = HRSupernet(
        stem_channels=(4, 4),
        stage_channels=((4,), (4, 6)),
        stage_blocks=((1,), (1, 1)),
        expand_ratio=1,
        tokens=tokens,
    )
    return nn.Sequential(backbone, HRFusionNeck((4, 6), 4, expand_ratio=1))


def test_owners() -> None:
    model = build(tokens=2)
    owners = find_owners(model)
    expected = {n: m for n, m in model.named_modules() if isinstance(m, (AtomicBlock, TokenMixer))}
    assert list(owners) == list(expected)
    assert all(owners[name] is module for name, module in expected.items())
    assert all(isinstance(owner, UnitOwner) for owner in owners.values())
    assert list(find_owners(AtomicBlock(4, 4))) == ['']
    assert find_owners(nn.Conv2d(1, 1, 1)) == {}
    shared = AtomicBlock(4, 4)
    assert list(find_owners(nn.Sequential(shared, shared))) == ['0']


def test_half_an_owner_is_none() -> None:
    class Half(nn.Module):
        unit_bn = None

        def unit_groups(self):
            return {}

    assert find_owners(nn.Sequential(Half())) == {}


def test_counts_and_importance() -> None:
    model = build(tokens=2)
    owners = find_owners(model)
    assert count_units(owners) == sum(owner.unit_bn.weight.numel() for owner in owners.values())
    assert count_units({}) == 0
    block = owners['1.block']
    with torch.no_grad():
        block.unit_bn.weight.copy_(torch.linspace(-1, 1, 30))
    assert torch.equal(importance(block), torch.linspace(-1, 1, 30).abs())
    assert not importance(block).requires_grad


# Dead units

SCALES = st.lists(
    st.sampled_from([0.0, -0.0, 1e-3, -1e-3, 1.0001e-3, -5e-4, 1.0, -1.0, 1e-30]),
    min_size=12,
    max_size=12,
)


@FEW
@given(st.lists(SCALES, min_size=1, max_size=3))
def test_dead_in_every_copy(scales) -> None:
    threshold = torch.tensor(1e-3).item()
    blocks = [AtomicBlock(4, 4, expand_ratio=1) for _ in scales]
    for block, values in zip(blocks, scales, strict=True):
        block.unit_bn.weight.data = torch.tensor(values)
    owners = [find_owners(nn.Sequential(block)) for block in blocks]
    dead = dead_units(owners[0], threshold, *owners[1:])
    expected = [all(abs(row[i]) <= 1.00005e-3 for row in scales) for i in range(12)]
    assert dead.keys() == {'0'}
    assert dead['0'].dtype == torch.bool
    assert dead['0'].tolist() == expected


def test_threshold_is_inclusive() -> None:
    block = AtomicBlock(4, 4, expand_ratio=1)
    block.unit_bn.weight.data = torch.full((12,), 0.5)
    assert dead_units({'': block}, 0.5)[''].all()
    assert not dead_units({'': block}, 0.4999999)[''].any()
    block.unit_bn.weight.data[:] = 0
    assert dead_units({'': block}, 0)[''].all()


def test_nan_is_not_dead() -> None:
    block = AtomicBlock(4, 4, expand_ratio=1)
    block.unit_bn.weight.data[:] = float('nan')
    assert not dead_units({'': block}, 1e-3)[''].any()


def test_dead_units_changes_nothing() -> None:
    model = build()
    before = copy.deepcopy(model.state_dict())
    owners = find_owners(model)
    dead_units(owners, 10.0, find_owners(copy.deepcopy(model)))
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert all(not p.grad_fn for p in model.parameters())


# Costs


def test_input_sizes() -> None:
    model = build(tokens=2)
    sizes = input_sizes(model, (3, 65, 97))
    assert sizes.keys() == find_owners(model).keys()
    assert sizes['0.stages.0.fusion.paths.0to0'] == (17, 25)
    assert sizes['0.stages.1.fusion.new_branch'] == (17, 25)
    assert sizes['0.stages.1.branches.1.0'] == (9, 13)
    assert sizes['0.stages.1.branches.1.0.shortcut'] == (9, 13)
    assert sizes['1.block'] == (17, 25)
    assert all(not module._forward_pre_hooks for module in model.modules())


def test_input_sizes_of_an_owner_that_is_never_reached() -> None:
    class Lazy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = AtomicBlock(3, 4), AtomicBlock(3, 4)

        def forward(self, x):
            return self.used(x)

    model = Lazy()
    with pytest.raises(ValueError, match=r"'unused'.*0 more"):
        input_sizes(model, (3, 8, 8))
    with pytest.raises(ValueError, match='cannot take'):
        input_sizes(model, (2, 8, 8))
    assert all(not module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize('tokens', [0, 3])
def test_costs_are_relative_to_the_mean(tokens) -> None:
    model = build(tokens)
    owners = find_owners(model)
    sizes = input_sizes(model, (3, 64, 64))
    macs, costs = units_macs(owners, sizes), unit_costs(owners, sizes)
    total = 0.0
    for name, owner in owners.items():
        whole = macs[name].sum().item()
        total += owner.mixer_macs(tokens) if isinstance(owner, TokenMixer) else whole
    mean = total / count_units(owners)
    for name in owners:
        assert costs[name].dtype == torch.float64
        torch.testing.assert_close(costs[name], macs[name] / mean, rtol=1e-12, atol=0)
    if not tokens:  # each unit costs its own MACs: the mean cost is 1
        assert torch.cat(list(costs.values())).mean().item() == pytest.approx(1, rel=1e-12)


def test_costs_without_units() -> None:
    model = AtomicBlock(4, 4, expand_ratio=1)
    shrink(model, {'': torch.ones(12).bool()})
    owners = find_owners(model)
    assert unit_costs(owners, {'': (8, 8)})[''].numel() == 0


@settings(FEW, max_examples=10)
@given(st.integers(0, 2**31), st.sampled_from([0, 0.3, 0.7, 1]), st.sampled_from([0, 3]))
def test_saved_macs_equal_the_difference(seed, share, tokens) -> None:
    """What is promised is what the flop counter finds gone."""
    model = build(tokens)
    owners = find_owners(model)
    sizes = input_sizes(model, (3, 33, 48))
    torch.manual_seed(seed)
    dead = {n: torch.rand(o.unit_bn.weight.numel()) < share for n, o in owners.items()}
    before = count_macs(model, (3, 33, 48)).dense
    promised = saved_macs(owners, dead, sizes)
    shrink(model, dead)
    assert before - count_macs(model, (3, 33, 48)).dense == promised
