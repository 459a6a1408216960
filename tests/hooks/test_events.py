"""Search, prune and reactivation happen when the config says, and leave what they should."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine import Config
from mmengine.runner import Runner

from st_mm.hooks.run_state import LATENT, RunState
from st_mm.prune import prunable_weights
from st_mm.search import count_units
from st_mm.ticket import Ticket, load_checkpoint
from st_mm.units import find_owners

EVENTS = [
    ('prune', 1),
    ('search', 2),
    ('reactivate', 2),
    ('prune', 2),
    ('prune', 3),
    ('search', 4),
    ('reactivate', 4),
    ('prune', 4),
    ('prune', 5),
    ('search', 6),
    ('refit', 6),
]  # of the run in conftest.py: nothing is freed after the last prune, at 5


def _density(state: dict, names: list[str]) -> float:
    weights = [state[name] for name in names]
    return sum(int(w.count_nonzero()) for w in weights) / sum(w.numel() for w in weights)


@pytest.fixture(scope='module')
def names(ticket_run: Path) -> list[str]:
    """Names of the prunable weights."""
    masks = load_checkpoint(ticket_run / 'epoch_6.pth')['meta']['ticket']['masks']
    return list(masks)


def test_events_are_recorded_at_their_epochs(ticket_run: Path) -> None:
    events = Ticket.from_meta(load_checkpoint(ticket_run / 'epoch_6.pth')['meta']).events
    assert [(event['kind'], event['t']) for event in events] == EVENTS
    assert {event['unit'] for event in events} == {'epoch'}


def test_events_are_logged_at_their_epochs(ticket_run: Path) -> None:
    [log] = ticket_run.glob('*/*.log')
    for kind, epoch in EVENTS:
        words = 'masks fitted again' if kind == 'refit' else kind
        assert f'{words} at epoch {epoch}' in log.read_text()


def test_backends_get_the_figures(ticket_run: Path) -> None:
    [events] = ticket_run.glob('*/vis_data/events.json')
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    density = {line['step']: line['prune/density'] for line in lines if 'prune/ratio' in line}
    assert density[2] == pytest.approx(0.7, abs=1e-3)
    units = [line['search/units'] for line in lines if 'search/units' in line]
    assert units == sorted(units, reverse=True)
    assert units[0] > units[-1]


@pytest.mark.parametrize(('epoch', 'density'), [(1, 0.7), (2, 0.4), (3, 0.1), (5, 0.1), (6, 0.1)])
@pytest.mark.parametrize('weights', ['state_dict', 'ema_state_dict'])
def test_saved_weights_have_the_density(
    ticket_run: Path, names: list[str], epoch: int, density: float, weights: str
) -> None:
    state = load_checkpoint(ticket_run / f'epoch_{epoch}.pth')[weights]
    state = {name.removeprefix('module.'): tensor for name, tensor in state.items()}
    assert _density(state, names) == pytest.approx(density, abs=1e-3)


def test_record_agrees_with_the_weights(ticket_run: Path) -> None:
    for epoch in range(1, 7):
        checkpoint = load_checkpoint(ticket_run / f'epoch_{epoch}.pth')
        ticket = Ticket.from_meta(checkpoint['meta'])
        for name in ticket.masks:
            assert torch.equal(ticket.mask(name), checkpoint['state_dict'][name] != 0), name
        for owner, groups in ticket.units.items():
            for kernel, indices in groups.items():
                filters = checkpoint['state_dict'][f'{owner}.depthwise.{kernel}.weight']
                assert len(indices) == len(filters)
                assert indices == sorted(set(indices))
                assert all(0 <= i < ticket.total[owner][kernel] for i in indices)


def test_latent_weights_lie_behind_the_masks(ticket_run: Path) -> None:
    checkpoint = load_checkpoint(ticket_run / 'epoch_3.pth')
    ticket = Ticket.from_meta(checkpoint['meta'])
    assert len(checkpoint[LATENT]) == 2  # live, EMA
    for latent in checkpoint[LATENT]:
        assert latent.keys() == ticket.masks.keys()
        for name, values in latent.items():
            assert values.numel() == int((~ticket.mask(name)).sum())
        assert all(values.count_nonzero() == values.numel() for values in latent.values())


@pytest.fixture
def short(tiny_config: Callable[..., Config], tmp_path: Path) -> Callable[..., Runner]:
    """Runners of a short training: two epochs, changed by keywords."""

    def build(**changes: object) -> Runner:
        changes.setdefault('prune', dict(interval=1, step=0.5, ratio=0.5, end=1))
        changes.setdefault('train_cfg', dict(max_epochs=2, val_interval=10))
        return Runner.from_cfg(tiny_config(tmp_path / 'run', **changes))

    return build


def test_parameters_keep_their_identity(short) -> None:
    runner = short()
    before = dict(runner.model.named_parameters())
    units = count_units(find_owners(runner.model))
    runner.train()
    after = dict(runner.model.named_parameters())
    assert before.keys() == after.keys()
    assert all(after[name] is parameter for name, parameter in before.items())
    assert count_units(find_owners(runner.model)) < units
    groups = runner.optim_wrapper.optimizer.param_groups
    optimized = {p for group in groups for p in group['params']}
    assert optimized == set(after.values())
    for parameter, state in runner.optim_wrapper.optimizer.state.items():
        assert state['exp_avg'].shape == parameter.shape


def test_masks_hold_between_events(short) -> None:
    runner = short(search=None, reactivate=None, ema=None)
    runner.train()
    weights = prunable_weights(runner.model)
    masks = RunState.of(runner).masks
    assert masks.density() == pytest.approx(0.5, abs=1e-3)
    for name, keep in masks.keep.items():
        assert not weights[name][keep == 0].any()


@pytest.mark.parametrize('mode', ['latent', 'zero'])
def test_reactivation_after_pruning(short, mode: str) -> None:
    """IR-P: weights are masked and freed at once, so nothing trains sparse."""
    prune = dict(interval=1, step=0.5, ratio=0.5, end=3)
    cfg = dict(max_epochs=3, val_interval=10)
    runner = short(search=None, reactivate=dict(on='prune', mode=mode), prune=prune, train_cfg=cfg)
    runner.train()
    events = RunState.of(runner).ticket.events
    kinds = [(event['kind'], event['t']) for event in events]
    assert kinds == [
        ('prune', 1), ('reactivate', 1), ('prune', 2), ('reactivate', 2), ('prune', 3)
    ]  # fmt: skip


def test_iterations(short) -> None:
    """The same in an iteration-based loop whose length is not a multiple of the intervals."""
    runner = short(
        search=dict(by_epoch=False),
        prune=dict(interval=2, step=0.3, end=6, by_epoch=False),
        train_cfg=dict(_delete_=True, type='IterBasedTrainLoop', max_iters=7, val_interval=3),
        default_hooks=dict(checkpoint=dict(by_epoch=False, interval=1)),
        log_processor=dict(by_epoch=False),
        param_scheduler=[dict(type='ConstantLR', factor=1.0, by_epoch=False)],
    )
    runner.train()
    events = RunState.of(runner).ticket.events
    assert {event['unit'] for event in events} == {'iter'}
    by_kind = {kind: [e['t'] for e in events if e['kind'] == kind] for kind in ('search', 'prune')}
    assert by_kind == dict(search=[2, 4, 6], prune=[2, 4, 6])
    saved = load_checkpoint(Path(runner.work_dir) / 'iter_7.pth')
    names = list(saved['meta']['ticket']['masks'])
    assert _density(saved['state_dict'], names) == pytest.approx(0.1, abs=1e-3)


def test_calibration_leaves_the_training_alone(short, tmp_path: Path) -> None:
    """Data order and random state are the same with and without recalibration."""
    states = []
    for batches in (0, 3):
        prune = dict(interval=1, step=0.5, ratio=0.5, end=1, calibration_batches=batches)
        runner = short(search=None, reactivate=None, prune=prune)
        runner.train()
        states.append((dict(runner.model.named_parameters()), torch.get_rng_state()))
    (without, random_without), (with_, random_with) = states
    assert torch.equal(random_without, random_with)
    for name, parameter in without.items():
        assert torch.equal(parameter, with_[name]), name


def test_retraining_keeps_the_ticket(tiny_config, ticket_run: Path, tmp_path: Path) -> None:
    ticket = ticket_run / 'epoch_6.pth'
    config = tiny_config(tmp_path / 'run', search=None, prune=None, reactivate=None)
    config.custom_hooks.append(dict(type='FixedMaskHook'))
    config.load_from = str(ticket)
    config.train_cfg.max_epochs = 2
    config.param_scheduler[0].total_steps = 2
    Runner.from_cfg(config).train()
    before, after = load_checkpoint(ticket), load_checkpoint(tmp_path / 'run' / 'epoch_2.pth')
    assert after['meta']['ticket']['units'] == before['meta']['ticket']['units']
    changed = False
    for name, weight in after['state_dict'].items():
        assert weight.shape == before['state_dict'][name].shape
        if name in before['meta']['ticket']['masks']:
            kept = before['state_dict'][name] != 0
            assert not weight[~kept].any()
            changed |= not torch.equal(weight, before['state_dict'][name])
    assert changed


def test_retraining_with_a_part_set_free(tiny_config, ticket_run: Path, tmp_path: Path) -> None:
    config = tiny_config(tmp_path / 'run', search=None, prune=None, reactivate=None)
    config.custom_hooks.append(dict(type='FixedMaskHook', skip=['backbone.stem*']))
    config.load_from = str(ticket_run / 'epoch_6.pth')
    config.train_cfg.max_epochs = 1
    Runner.from_cfg(config).train()
    masks = load_checkpoint(tmp_path / 'run' / 'epoch_1.pth')['meta']['ticket']['masks']
    assert masks
    assert not any(name.startswith('backbone.stem') for name in masks)


def test_pretrained_ticket_with_ema(tiny_config, ticket_run: Path, tmp_path: Path) -> None:
    """Weights come after EMAHook has copied the model, and with other shapes."""
    config = tiny_config(tmp_path / 'run', prune=None, reactivate=None)
    ticket = str(ticket_run / 'epoch_6.pth')
    config.model.init_cfg = dict(type='Pretrained', checkpoint=ticket)
    config.train_cfg.max_epochs = 1
    Runner.from_cfg(config).train()
    before = load_checkpoint(ticket)['state_dict']
    after = load_checkpoint(tmp_path / 'run' / 'epoch_1.pth')
    for weights in ('state_dict', 'ema_state_dict'):
        state = {n.removeprefix('module.'): w for n, w in after[weights].items() if n != 'steps'}
        assert {n: w.shape for n, w in state.items()} == {n: w.shape for n, w in before.items()}
