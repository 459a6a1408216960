"""What holds at a time follows from the schedule, whatever the run has been through before."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from st_mm.hooks import PruneHook

ONE_SHOT = dict(type='PruneHook', schedule=dict(type='OneShot', ratio=0.8, at=1))
SCHEDULES = dict(
    OneShot=dict(at=1),
    Progressive=dict(interval=1, step=0.3),
    Cubic=dict(begin=1, end=4),
    Constant={},
)


def prune(kind: str, ratio: float = 0.8, **arguments: object) -> dict:
    schedule = dict(type=kind, ratio=ratio, **{**SCHEDULES[kind], **arguments})
    return dict(type='PruneHook', schedule=schedule, calibration_batches=1)


def zeros(state: dict[str, Tensor]) -> float:
    """Share of exact zeros in the convolutions."""
    kernels = [tensor for tensor in state.values() if tensor.dim() == 4]
    return sum(int((k == 0).sum()) for k in kernels) / sum(k.numel() for k in kernels)


def read(path: Path) -> dict:
    return torch.load(path, weights_only=True)


class First(Hook):
    """Notes the share of zeros that the first iteration sees."""

    def __init__(self, seen: list[float]) -> None:
        self.seen = seen

    def before_train(self, runner: Runner) -> None:
        self.seen.append(zeros(runner.model.state_dict()))


@pytest.mark.parametrize(
    ('kind', 'before'), [*((kind, 'dense') for kind in SCHEDULES), ('Progressive', 'pruned')]
)
def test_a_resumed_run_is_brought_to_the_ratio_of_its_time(
    noise_runner, tmp_path: Path, kind: str, before: str
) -> None:
    hooks = [] if before == 'dense' else [prune('OneShot', ratio=0.3)]
    noise_runner(hooks, epochs=2).train()
    runner = noise_runner([prune(kind)], epochs=6, resume=True, log_level='INFO')
    [pruner] = [hook for hook in runner.hooks if isinstance(hook, PruneHook)]
    wanted = pruner.schedule.ratio_at(2)
    seen: list[float] = []
    runner.register_hook(First(seen), 'VERY_LOW')
    runner.train()
    assert seen == [pytest.approx(wanted, abs=1e-3)]
    assert zeros(runner.model.state_dict()) == pytest.approx(0.8, abs=1e-3)
    [log] = [f for f in tmp_path.glob('run/*/*.log') if 'resumed at epoch 2 with' in f.read_text()]
    held = 0 if before == 'dense' else 0.3
    assert f'with a ratio of {held:g}, where the schedule says {wanted:g}' in log.read_text()


def test_a_schedule_that_begins_later_sets_weights_free(noise_runner, tmp_path: Path) -> None:
    noise_runner([ONE_SHOT], epochs=2).train()
    runner = noise_runner([prune('OneShot', at=4)], epochs=5, resume=True)
    runner.train()
    after = [zeros(read(tmp_path / f'run/epoch_{t}.pth')['state_dict']) for t in (2, 3, 4, 5)]
    assert after == pytest.approx([0.8, 0, 0.8, 0.8], abs=1e-3)


@pytest.mark.parametrize('kind', ['Progressive', 'Cubic'])
def test_the_same_schedule_changes_nothing(noise_runner, tmp_path: Path, kind: str) -> None:
    noise_runner([prune(kind)], epochs=5, name='whole').train()
    noise_runner([prune(kind)], epochs=5).train()
    for late in ('epoch_3', 'epoch_4', 'epoch_5'):
        (tmp_path / f'run/{late}.pth').unlink()
    (tmp_path / 'run/last_checkpoint').write_text(str(tmp_path / 'run/epoch_2.pth'))
    noise_runner([prune(kind)], epochs=5, resume=True).train()
    whole, resumed = (read(tmp_path / f'{name}/epoch_5.pth') for name in ('whole', 'run'))
    events = [saved['meta']['ticket']['events'] for saved in (whole, resumed)]
    assert [(e['kind'], e['t'], e['ratio']) for e in events[0]] == [
        (e['kind'], e['t'], e['ratio']) for e in events[1]
    ]
    for name, weight in whole['state_dict'].items():
        assert torch.equal(weight, resumed['state_dict'][name]), name


def start(how: str, folder: Path) -> dict:
    """The part of a config that starts from the ticket in a folder."""
    if how == 'load_from':
        return dict(load_from=str(folder / 'epoch_2.pth'))
    if how == 'bare':
        saved = read(folder / 'epoch_2.pth')
        torch.save(dict(meta={}, state_dict=saved['state_dict']), folder / 'bare.pth')
        return dict(load_from=str(folder / 'bare.pth'))
    init = dict(type='Ticket', checkpoint=str(folder / 'epoch_2.pth'))
    if how == 'rewound':
        init['weights'] = str(folder / 'initial.pth')
    return dict(model=dict(init_cfg=init))


@pytest.mark.parametrize(
    ('how', 'scope'),
    [('load_from', 'layer'), ('bare', 'global'), ('init_cfg', 'global'), ('rewound', 'global')],
)
def test_a_ticket_that_is_pruned_further_keeps_its_zeros(
    noise_runner, tmp_path: Path, how: str, scope: str
) -> None:
    noise_runner([dict(type='InitialCheckpointHook'), ONE_SHOT], name='ticket').train()
    hook = {**prune('Progressive', ratio=0.9, interval=2, step=0.45), 'scope': scope}
    runner = noise_runner([hook], epochs=5, name='further', **start(how, tmp_path / 'ticket'))
    runner.train()
    states = [read(tmp_path / 'ticket/epoch_2.pth')['state_dict']]
    states += [read(tmp_path / f'further/epoch_{t}.pth')['state_dict'] for t in range(1, 6)]
    for before, after in pairwise(states):
        for name, weight in before.items():
            if weight.dim() == 4:
                assert not after[name][weight == 0].any(), name
    shares = [zeros(state) for state in states]
    assert shares[:4] == pytest.approx([0.8] * 4, abs=0.002)
    assert shares[-1] >= 0.9 - 1e-3

    (tmp_path / 'further/last_checkpoint').write_text(str(tmp_path / 'further/epoch_2.pth'))
    again = noise_runner([hook], epochs=5, name='further', resume=True)
    again.train()
    for name, weight in runner.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name]), name


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(schedule=dict(type='OneShot', ratio=0.5, at=1)), 'more than the ratio 0.5'),
        (dict(skip=['backbone.conv2*']), 'which this config does not prune'),
    ],
)
def test_a_ticket_that_cannot_keep_its_zeros_is_refused(
    noise_runner, tmp_path: Path, change: dict, message: str
) -> None:
    noise_runner([ONE_SHOT], name='ticket').train()
    hook = {**prune('OneShot', ratio=0.9), **change}
    runner = noise_runner([hook], name='further', **start('load_from', tmp_path / 'ticket'))
    with pytest.raises(ValueError, match=message):
        runner.train()


def test_zeros_that_nothing_holds_are_named(noise_runner, tmp_path: Path) -> None:
    noise_runner([ONE_SHOT], name='ticket').train()
    search = dict(type='SearchHook', interval=9, input_shape=(3, 32, 32))
    noise_runner([search], name='further', **start('load_from', tmp_path / 'ticket')).train()
    [log] = tmp_path.glob('further/*/*.log')
    assert 'no hook of this config holds its masks' in log.read_text()
