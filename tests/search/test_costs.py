"""What a unit costs: what is counted is what goes; tables of latencies, and what is none."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmpretrain.models import MobileNetV2
from torch import Tensor, nn

from st_mm.models import HRFusionNeck, HRSupernet
from st_mm.search import (
    COSTS,
    Cost,
    Curve,
    LatencyTable,
    build_cost,
    check_cost,
    find_owners,
    input_sizes,
    relative_costs,
    shrink,
    unit_costs,
)
from st_mm.units import UnitOwner

PICTURE = (3, 64, 64)


@COSTS.register_module()
def maps(owner: UnitOwner, input_size: tuple[int, int], each: float = 4.0) -> Tensor:
    """Values of the map of a unit."""
    return torch.full(owner.unit_bn.weight.shape, each * input_size[0] * input_size[1])


def supernet() -> nn.Module:
    backbone = HRSupernet(
        stem_channels=(4, 4),
        stage_channels=((4,), (4, 6)),
        stage_blocks=((1,), (1, 1)),
        expand_ratio=1,
        tokens=2,
    )
    return nn.Sequential(backbone, HRFusionNeck((4, 6), 4, expand_ratio=1))


NETWORKS = dict(supernet=supernet, mobile=lambda: MobileNetV2(widen_factor=0.25))


def table_of(model: nn.Module) -> LatencyTable:
    """A table with other slopes in each kernel, and a step in each curve."""
    curves: dict[str, dict[str, Curve]] = {}
    for place, (name, owner) in enumerate(find_owners(model).items()):
        curves[name] = {
            group: Curve((0, count // 2, count), (1e-3, 2e-3 + 1e-4 * place, 5e-3 * (1 + number)))
            for number, (group, count) in enumerate(owner.unit_groups().items())
        }
    return LatencyTable(PICTURE, 1.0, curves, dict(device='drawn'))


def cost_of(kind: str, model: nn.Module, folder: Path) -> Cost:
    config: dict = dict(type=kind)
    if kind == 'latency':
        path = folder / 'table.json'
        path.write_text(table_of(model).text())
        config['table'] = str(path)
    elif kind == 'maps':
        config['each'] = 2.0
    owners = find_owners(model)
    return build_cost(check_cost(config), model, owners, input_sizes(model, PICTURE), PICTURE)


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize('kind', ['macs', 'params', 'latency', 'maps'])
@pytest.mark.parametrize('share', [0.2, 0.7])
def test_what_is_counted_is_what_goes(
    kind: str, network: str, share: float, tmp_path: Path
) -> None:
    model = NETWORKS[network]()
    cost, owners = cost_of(kind, model, tmp_path), find_owners(model)
    random = torch.Generator().manual_seed(0)
    for _ in range(2):  # the second time from what is left
        dead = {}
        for name, owner in owners.items():
            dead[name] = torch.rand(len(owner.unit_bn.weight), generator=random) < share
            dead[name][: owner.least_units] = False
        before, saved = cost.total(), cost.saved(owners, dead)
        shrink(model, dead)
        assert saved > 0
        assert before - saved == pytest.approx(cost.total(), rel=1e-12)


@pytest.mark.parametrize('kind', ['macs', 'params', 'latency', 'maps'])
def test_the_units_share_what_all_cost(kind: str, tmp_path: Path) -> None:
    model = NETWORKS['mobile']()
    cost, owners = cost_of(kind, model, tmp_path), find_owners(model)
    everything = {n: torch.ones(len(o.unit_bn.weight)) > 0 for n, o in owners.items()}
    each = torch.cat(list(cost.units(owners).values()))
    assert float(each.sum()) == pytest.approx(cost.saved(owners, everything))
    weighted = torch.cat(list(relative_costs(cost, owners).values()))
    assert float(weighted.mean()) == pytest.approx(1)
    torch.testing.assert_close(weighted, each / each.mean())


def test_macs_are_what_they_were() -> None:
    model = supernet()
    owners, sizes = find_owners(model), input_sizes(model, PICTURE)
    cost = build_cost(check_cost('macs'), model, owners, sizes, PICTURE)
    ours, theirs = relative_costs(cost, owners), unit_costs(owners, sizes)
    assert all(torch.equal(ours[name], theirs[name]) for name in owners)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0, 1)), min_size=1, max_size=6),
    st.integers(0, 3),
    st.floats(1e-6, 1),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_between_the_points(steps: list[tuple[int, float]], first: int, base: float) -> None:
    """It does not fall, meets every measured point exactly, and is straight between two."""
    widths, seconds = [first], [base]
    for width, more in steps:
        widths.append(widths[-1] + width)
        seconds.append(seconds[-1] + more)
    curve = Curve(tuple(widths), tuple(seconds))
    assert [curve(width) for width in widths] == seconds
    course = [curve(width) for width in range(widths[-1] + 1)]
    assert all(one <= other for one, other in pairwise(course))
    for (low, high), (fast, slow) in zip(pairwise(widths), pairwise(seconds), strict=True):
        for width in range(low, high):
            straight = fast + (slow - fast) * (width - low) / (high - low)
            assert curve(width) == pytest.approx(straight, rel=1e-9)


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = table_of(supernet())
    path = tmp_path / 'table.json'
    path.write_text(table.text())
    again = LatencyTable.read(str(path))
    assert (again.curves, again.whole, again.input_shape) == (table.curves, 1.0, PICTURE)


def damaged(**changes: object) -> str:
    return json.dumps({**json.loads(table_of(supernet()).text()), **changes})


@pytest.mark.parametrize(
    'text',
    [
        'no json',
        '[]',
        '{}',
        damaged(kind='of others'),
        damaged(whole='1'),
        damaged(input_shape=[3, 0, 64]),
        damaged(curves={'': dict(k3=dict(widths=[0, 2], seconds=[2, 1]))}),
        damaged(curves={'': dict(k3=dict(widths=[2, 0], seconds=[1, 2]))}),
        damaged(curves={'': dict(k3=dict(widths=[0, 2], seconds=[1]))}),
        damaged(curves={'': dict(k3=dict(widths=[0, 2], seconds=[1, float('nan')]))}),
    ],
)
def test_what_is_no_table(text: str, tmp_path: Path) -> None:
    path = tmp_path / 'table.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=r'table\.json is not a table of latencies .* measure one'):
        LatencyTable.read(path)


def test_a_table_that_is_missing_or_of_something_else(tmp_path: Path) -> None:
    model = supernet()
    owners, sizes = find_owners(model), input_sizes(model, PICTURE)

    def build(shape: tuple[int, ...] = PICTURE, file: str = 'table.json') -> None:
        config = dict(type='latency', table=str(tmp_path / file))
        build_cost(config, model, owners, sizes, shape)

    with pytest.raises(ValueError, match=r"no table of latencies '.*none\.json': measure one"):
        build(file='none.json')
    (tmp_path / 'table.json').write_text(table_of(NETWORKS['mobile']()).text())
    with pytest.raises(ValueError, match=r'of another network: .* and was measured up to'):
        build()
    (tmp_path / 'table.json').write_text(table_of(model).text())
    build()
    with pytest.raises(ValueError, match='at 3x64x64, and input_shape is 3x32x32'):
        build((3, 32, 32))
    name = next(iter(owners))
    shrink(model, {name: torch.arange(len(owners[name].unit_bn.weight)) == 0})
    build()  # that of a smaller network of the same config
    small = table_of(model)
    (tmp_path / 'table.json').write_text(small.text())
    model, owners = supernet(), {}
    owners = find_owners(model)
    with pytest.raises(ValueError, match='of another network'):
        build()


@pytest.mark.parametrize(
    ('cost', 'message'),
    [
        (3, "cost must be a name, or a dict with a 'type', got 3"),
        ('flops', 'cost must be one of macs, params, latency, .*maps'),
        (dict(table='x'), 'cost must be one of .*, got None'),
        ('latency', "cost must have options that latency takes: .*'table'"),
        (dict(type='params', table='x'), 'cost must have options that params takes'),
        (dict(type='maps', all=1), 'cost must have options that maps takes'),
    ],
)
def test_what_is_no_cost(cost: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_cost(cost)


@pytest.mark.parametrize(
    ('answer', 'message'),
    [
        (torch.ones(2, 3), r'must be 48 numbers .* got a tensor of shape \(2, 3\)'),
        (-torch.ones(48), 'got -1'),
        (torch.full((48,), torch.nan), 'got nan'),
    ],
)
def test_what_a_function_must_not_say(answer: Tensor, message: str) -> None:
    model = MobileNetV2(widen_factor=0.25)
    owners = dict([next(iter(find_owners(model).items()))])
    units = next(iter(owners.values())).unit_bn.weight.numel()
    assert units == 48
    COSTS.register_module('wrong', force=True, module=lambda owner, size: answer)
    cost = build_cost(dict(type='wrong'), model, owners, input_sizes(model, PICTURE), PICTURE)
    with pytest.raises(ValueError, match=message):
        cost.units(owners)
    COSTS.module_dict.pop('wrong')
