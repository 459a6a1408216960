"""A search whose units cost something else than MACs: penalty, target, log and record agree."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.runner import Runner

from st_mm.analysis.wording import describe_schedule
from st_mm.hooks import SearchHook
from st_mm.hooks.run_state import bare_model
from st_mm.search import COSTS, Curve, LatencyTable, relative_costs
from st_mm.search.costs import FIGURES
from st_mm.ticket import Ticket, load_checkpoint
from st_mm.units import UnitOwner, find_owners

PICTURE = (3, 32, 32)
EPOCHS = 4


@COSTS.register_module()
def squares(owner: UnitOwner, input_size: tuple[int, int]) -> torch.Tensor:
    """Wide maps cost more than their share."""
    return torch.full(owner.unit_bn.weight.shape, float(input_size[0] ** 3))


def table(runner: Runner, path: Path) -> str:
    """Write a table of the network in which deep blocks are slow."""
    curves = {
        name: {
            group: Curve((1, count // 3, count), (1e-4, 1e-4 + 1e-5 * place, 1e-3 + 1e-4 * place))
            for group, count in owner.unit_groups().items()
        }
        for place, (name, owner) in enumerate(find_owners(bare_model(runner)).items())
    }
    path.write_text(LatencyTable(PICTURE, 0.05, curves, {}).text())
    return str(path)


def search(**changes: object) -> dict:
    hook = dict(
        type='SearchHook', interval=1, rho=10.0, warmup=0, threshold=0.3, min_macs_drop=1,
        input_shape=PICTURE, calibration_batches=0,
    )  # fmt: skip
    return {**hook, **changes}


@pytest.mark.parametrize('kind', ['params', 'squares', 'latency'])
def test_one_cost_throughout(
    kind: str, noise_runner: Callable[..., Runner], tmp_path: Path
) -> None:
    """And a resumed training ends as one that was not stopped, bit for bit."""
    cost: dict = dict(type=kind)
    if kind == 'latency':
        cost['table'] = table(noise_runner(name='as built'), tmp_path / 'table.json')
    hook = search(cost=cost, target={kind: '70%'})
    ema = dict(type='EMAHook', momentum=0.5)
    runner = noise_runner([hook, ema], epochs=EPOCHS)
    runner.train()
    [ours] = [each for each in runner.hooks if isinstance(each, SearchHook)]
    whole = load_checkpoint(tmp_path / 'run' / f'epoch_{EPOCHS}.pth')
    ticket = Ticket.from_meta(whole['meta'])
    steps = [event for event in ticket.events if event['kind'] == 'search']
    assert sum(event['removed'] for event in steps) > 0
    assert steps[-1][kind] == ours.cost.total() < steps[0][f'start_{kind}']
    assert ours.cost.total() >= 0.7 * steps[0][f'start_{kind}'] * (1 - 1e-9)
    for name, costs in relative_costs(ours.cost, ours.owners).items():
        assert torch.equal(ours.costs[name], costs)
        assert torch.equal(ours.penalty._costs[name], costs.float())
    assert ticket.config['SearchHook']['cost'] == cost
    said = describe_schedule(ticket.config)
    name = dict(params='parameters').get(kind, kind)
    assert said[1].startswith(f'units cost {name}')
    assert said[2] == f'towards {name} of 70% of those at the start'
    file = str(tmp_path / 'run' / 'epoch_2.pth')
    again = noise_runner([hook, ema], EPOCHS, 'resumed', load_from=file, resume=True)
    again.train()
    ended = load_checkpoint(tmp_path / 'resumed' / f'epoch_{EPOCHS}.pth')
    for entry in ('state_dict', 'ema_state_dict'):
        for key, tensor in whole[entry].items():
            assert torch.equal(ended[entry][key], tensor), key
    assert ended['meta']['ticket']['events'] == ticket.events


def test_the_log_says_what_stays(noise_runner: Callable[..., Runner], tmp_path: Path) -> None:
    file = table(noise_runner(name='as built'), tmp_path / 'table.json')
    cost = dict(type='latency', table=file)
    hook = search(cost=cost, target=dict(latency=0.045), threshold=2.0)  # all units are dead
    runner = noise_runner([hook], epochs=1, log_level='INFO')
    runner.train()
    [log] = Path(runner.work_dir).glob('*/*.log')
    assert 'MACs, 45' in log.read_text()
    assert 'target of 45 ms: +0.' in log.read_text()
    [scalars] = Path(runner.work_dir).glob('*/vis_data/events.json')
    aim, line = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert aim == {'target/latency': 0.045, 'step': 0}
    assert 0.045 <= line['search/latency'] < 0.046


def test_what_is_refused_before_training(
    noise_runner: Callable[..., Runner], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match='cost must be one of'):
        SearchHook(cost='flops')
    with pytest.raises(ValueError, match="target takes macs and params, got 'latency'"):
        SearchHook(target=dict(latency='50%'))
    runner = noise_runner([search(cost=dict(type='latency', table='none.json'))])
    with pytest.raises(ValueError, match=r"no table of latencies 'none\.json'"):
        runner.train()
    cost = dict(type='latency', table=table(noise_runner(name='own'), tmp_path / 'table.json'))
    wide = dict(backbone=dict(type='MobileNetV2', widen_factor=0.35))
    runner = noise_runner([search(cost=cost)], name='wide', model=wide)
    with pytest.raises(ValueError, match='of another network'):
        runner.train()


def counted(owner: UnitOwner, input_size: tuple[int, int]) -> torch.Tensor:
    return torch.ones_like(owner.unit_bn.weight)


@pytest.mark.parametrize('name', [*FIGURES, 'start_macs', 'macs', 'params', 'latency'])
def test_names_that_the_record_has_already_are_refused(name: str) -> None:
    COSTS.register_module(name=name, module=counted)
    try:
        with pytest.raises(ValueError, match=f'cost must have a name of its own, but {name!r}'):
            SearchHook(cost=name)
    finally:
        del COSTS.module_dict[name]


def test_every_other_name_will_do(noise_runner: Callable[..., Runner], tmp_path: Path) -> None:
    """All figures that a search step may have are reserved, and no others."""
    COSTS.register_module(name='runner', module=counted)
    try:
        hook = search(cost='runner', target=dict(runner='90%', macs='99%'))
        noise_runner([hook], 2).train()
    finally:
        del COSTS.module_dict['runner']
    ticket = Ticket.from_meta(load_checkpoint(tmp_path / 'run' / 'epoch_2.pth')['meta'])
    names = {n for e in ticket.events if e['kind'] == 'search' for n in e}
    assert {n for n in names if not n.startswith('start_')} == {*FIGURES, 'macs', 'runner'}


def test_a_resume_with_another_cost(noise_runner: Callable[..., Runner], tmp_path: Path) -> None:
    """How much of it there was at the start is not in the record; of what is, a target goes on."""
    noise_runner([search(target=dict(macs='60%'))], 2).train()
    resume = dict(load_from=str(tmp_path / 'run' / 'epoch_2.pth'), resume=True)
    hook = search(cost='squares', target=dict(squares='60%'))
    with pytest.raises(ValueError, match='target is of squares, but the training to resume has'):
        noise_runner([hook], 4, 'refused', **resume).train()
    hook = search(cost='squares', target=dict(macs='60%'))
    noise_runner([hook], 4, 'other', **resume).train()
