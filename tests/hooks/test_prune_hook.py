"""Every criterion, schedule, scope and pattern as a line of config, on a real run."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine import Config
from mmengine.runner import Runner

from st_mm.hooks.run_state import BEFORE, LATENT, RunState, averaged_models
from st_mm.prune import SCORES, prunable_weights
from st_mm.ticket import Ticket, load_checkpoint


@pytest.fixture
def train(tiny_config: Callable[..., Config], tmp_path: Path) -> Callable[..., Runner]:
    """Train two epochs with a PruneHook and nothing else."""

    def run(
        epochs: int = 2,
        name: str = 'run',
        hooks: tuple = (),
        resume: bool = False,
        log_level: str = 'WARNING',
        **arguments: object,
    ) -> Runner:
        config = tiny_config(
            tmp_path / name,
            search=None,
            prune=None,
            reactivate=None,
            resume=resume,
            log_level=log_level,
        )
        arguments.setdefault('schedule', dict(type='OneShot', ratio=0.5, at=1))
        arguments.setdefault('calibration_batches', 1)
        config.custom_hooks += [dict(type='PruneHook', **arguments), *hooks]
        config.train_cfg.max_epochs = epochs
        config.param_scheduler = [dict(type='ConstantLR', factor=1.0)] if epochs else []
        runner = Runner.from_cfg(config)
        runner.train()
        return runner

    return run


def _density(runner: Runner) -> float:
    """Of what is saved: live weights and EMA alike."""
    path = Path(runner.work_dir) / f'epoch_{runner.max_epochs}.pth'
    saved = load_checkpoint(path)
    names = Ticket.from_meta(saved['meta']).masks
    found = set()
    for weights in ('state_dict', 'ema_state_dict'):
        state = {name.removeprefix('module.'): tensor for name, tensor in saved[weights].items()}
        kept = sum(int(state[name].count_nonzero()) for name in names)
        found.add(kept / sum(state[name].numel() for name in names))
    [density] = found
    return density


@pytest.mark.parametrize('score', sorted(SCORES.module_dict))
def test_scores(train, score: str) -> None:
    runner = train(score=dict(type=score, batches=1, rounds=2))
    assert _density(runner) == pytest.approx(0.5, abs=1e-3)
    masks = RunState.of(runner).masks
    for name, keep in masks.keep.items():
        assert not masks.weights[name][keep == 0].any()


@pytest.mark.parametrize('score', ['snip', 'synflow'])
def test_scores_leave_the_training_alone(train, score: str) -> None:
    """The run goes on as one that is masked at random up to its prune, at the end."""
    schedule = dict(type='OneShot', ratio=0.5, at=2)
    plain, scored = (
        train(name=name, schedule=schedule, score=name, calibration_batches=0)
        for name in ('random', score)
    )
    latent = [RunState.of(runner).masks.latent[0] for runner in (plain, scored)]
    weights = [prunable_weights(runner.model) for runner in (plain, scored)]
    for name in weights[0]:
        ours, theirs = (w[name] + values[name] for w, values in zip(weights, latent, strict=True))
        assert torch.equal(ours, theirs), name


@pytest.mark.parametrize('scope', ['global', 'sigma', 'layer', 'erk'])
@pytest.mark.parametrize(
    'schedule',
    [
        dict(type='OneShot', ratio=0.7, at=1),
        dict(type='Cubic', ratio=0.7, begin=0, end=2),
        dict(type='Constant', ratio=0.7, interval=1),
        dict(type='Progressive', ratio=0.7, interval=1, step=0.35),
    ],
    ids=lambda schedule: schedule['type'],
)
def test_scopes_and_schedules(train, schedule: dict, scope: str) -> None:
    runner = train(schedule=schedule, scope=scope)
    masks = RunState.of(runner).masks
    total = sum(weight.numel() for weight in masks.weights.values())
    kept = sum(int((keep != 0).sum()) for keep in masks.keep.values())
    if scope == 'layer':
        for name, density in masks.densities().items():
            assert abs(density - 0.3) * masks.weights[name].numel() <= 1, name
    else:
        assert abs(kept - 0.3 * total) <= 1


def test_two_of_four(train) -> None:
    runner = train(pattern='2:4')
    masks = RunState.of(runner).masks
    assert masks.keep
    for weight in masks.weights.values():
        grouped = weight.unflatten(1, (-1, 4))
        assert torch.equal((grouped != 0).sum(2), torch.full_like(grouped[:, :, 0], 2).long())
    rest = prunable_weights(runner.model).keys() - masks.weights.keys()
    assert any('depthwise' in name for name in rest)


def test_rules(train) -> None:
    rules = [dict(names='*depthwise*', ratio=0.25), dict(names='*', min_per_channel=1)]
    runner = train(rules=rules, schedule=dict(type='OneShot', ratio=0.9, at=1))
    masks = RunState.of(runner).masks
    for name, keep in masks.keep.items():
        if 'depthwise' in name:
            assert int((keep == 0).sum()) == int(0.25 * keep.numel())
        else:
            assert (keep.flatten(1).sum(1) >= 1).all(), name


def test_weights_that_are_masked_whole_are_named(train) -> None:
    """By the prune that does it, and by no later one."""
    schedule = dict(type='Cubic', ratio=0.99, begin=0, end=2)
    runner = train(schedule=schedule, scope='sigma', log_level='INFO')
    densities = RunState.of(runner).masks.densities()
    whole = {name for name, share in densities.items() if not share}
    assert whole
    [log] = Path(runner.work_dir).glob('*/*.log')
    ends = re.findall(r'; masked whole now: (.*?)(?: and (\d+) more)?\n', log.read_text())
    named = [name for names, _ in ends for name in names.split(', ')]
    assert set(named) <= whole
    assert len(named) + sum(int(more or 0) for _, more in ends) == len(whole)


def test_pruning_before_the_first_step(train, tmp_path: Path) -> None:
    """S+P without retraining: the whole ratio at once, on what training starts from."""
    schedule = dict(type='OneShot', ratio=0.9, at=0)
    hooks = (dict(type='InitialCheckpointHook'),)
    runner = train(epochs=1, schedule=schedule, hooks=hooks)
    initial = load_checkpoint(Path(runner.work_dir) / 'initial.pth')
    ticket = Ticket.from_meta(initial['meta'])
    assert [(event['kind'], event['t']) for event in ticket.events] == [('prune', 0)]
    for name in ticket.masks:
        assert torch.equal(initial['state_dict'][name] != 0, ticket.mask(name)), name
    assert initial['state_dict']['backbone.stem.0.bn.running_mean'].any()  # recalibrated
    assert _density(runner) == pytest.approx(0.1, abs=1e-3)


def test_no_training_at_all(train) -> None:
    schedule = dict(type='OneShot', ratio=0.9, at=0)
    runner = train(epochs=0, schedule=schedule, hooks=(dict(type='InitialCheckpointHook'),))
    state = load_checkpoint(Path(runner.work_dir) / 'initial.pth')['state_dict']
    for name, keep in RunState.of(runner).masks.keep.items():
        assert torch.equal(state[name] != 0, keep != 0), name
    assert not runner.iter


def test_rounds_are_compared(train, tmp_path: Path) -> None:
    """Flips and IoU against the round before, in a resumed run too."""
    schedule = dict(type='Constant', ratio=0.5, interval=1)
    runner = train(epochs=3, schedule=schedule, score='random')
    events = RunState.of(runner).ticket.events
    masked = sum(int((keep == 0).sum()) for keep in RunState.of(runner).masks.keep.values())
    assert [event['flips'] for event in events] == [masked, 0, 0, 0]
    assert events[0]['iou'] == pytest.approx(0.5, abs=1e-3)
    assert [event['iou'] for event in events[1:]] == [1, 1, 1]
    saved = load_checkpoint(Path(runner.work_dir) / 'epoch_2.pth')
    assert saved[BEFORE].keys() == saved['meta']['ticket']['masks'].keys()
    assert len(saved[LATENT]) == 1 + len(averaged_models(runner))


def test_resuming_where_there_is_nothing_to_resume(train, tmp_path: Path) -> None:
    """The training begins, and with it the schedule."""
    schedule = dict(type='OneShot', ratio=0.9, at=0)
    hooks = (dict(type='InitialCheckpointHook'),)
    runner = train(epochs=1, schedule=schedule, hooks=hooks, resume=True)
    assert (Path(runner.work_dir) / 'initial.pth').is_file()
    assert _density(runner) == pytest.approx(0.1, abs=1e-3)


def test_growing_after_a_search_with_nothing_masked(tiny_config, tmp_path: Path) -> None:
    config = tiny_config(
        tmp_path / 'run',
        search=dict(interval=1),
        prune=dict(ratio=0.5, interval=2, step=0.5, end=None),
        reactivate=dict(mode='gradient', batches=1),
    )
    config.train_cfg.max_epochs = config.param_scheduler[0].total_steps = 2
    runner = Runner.from_cfg(config)
    runner.train()
    kinds = [event['kind'] for event in RunState.of(runner).ticket.events]
    assert kinds == ['search', 'search', 'prune']
    assert _density(runner) == pytest.approx(0.5, abs=1e-3)


def test_growing_by_gradient(train) -> None:
    """RigL: after a prune the masked weights that the loss pulls at most come back from zero."""
    free = dict(type='ReactivateHook', on='prune', mode='gradient', share=0.2, batches=1)
    schedule = dict(type='Constant', ratio=0.5, interval=1, begin=1)
    runner = train(epochs=3, schedule=schedule, hooks=({**free, 'scope': 'all'},))
    events = RunState.of(runner).ticket.events
    assert [event['kind'] for event in events] == ['prune', 'reactivate'] * 2 + ['prune']
    total = sum(weight.numel() for weight in RunState.of(runner).masks.weights.values())
    assert events[1]['freed'] == pytest.approx(0.1 * total, abs=2)
    assert events[1]['density'] == pytest.approx(0.6, abs=1e-3)
    assert _density(runner) == pytest.approx(0.5, abs=1e-3)


def largest_first(weights, evidence, power: float = 1.0):
    """A score of one's own."""
    return {name: -(weight.detach().abs() ** power) for name, weight in weights.items()}


def test_a_score_of_ones_own(train, monkeypatch) -> None:
    monkeypatch.setitem(SCORES.module_dict, 'largest_first', largest_first)  # for this test alone
    runner = train(score=dict(type='largest_first', power=2.0), epochs=1)
    masks = RunState.of(runner).masks
    live = torch.cat([w[masks.keep[n] != 0].abs() for n, w in masks.weights.items()])
    gone = torch.cat([v[masks.keep[n] == 0].abs() for n, v in masks.latent[0].items()])
    assert gone.min() >= live.max()
    recorded = RunState.of(runner).ticket.config['PruneHook']['score']
    assert recorded == dict(type='largest_first', batches=10, rounds=1, power=2.0)
