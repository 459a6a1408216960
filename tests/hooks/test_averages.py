"""An average is taken of masked weights, and there is one at most."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from st_mm.ticket import Ticket, load_checkpoint

ONCE = dict(type='OneShot', ratio=0.9, at=1)
PRUNE = dict(type='PruneHook', schedule=ONCE, calibration_batches=0)
STEPS = dict(type='ProgressivePruneHook', ratio=0.8, interval=1, step=0.4, calibration_batches=0)
SEARCH = dict(
    type='SearchHook', interval=1, min_macs_drop=1, input_shape=(3, 32, 32), calibration_batches=0
)
FIXED = dict(type='FixedMaskHook')


@HOOKS.register_module()
class EagerEMAHook(EMAHook):
    """Averages before the other hooks."""

    priority = 'HIGH'


def average(priority: int | str | None = None, kind: str = 'EMAHook') -> dict:
    at = {} if priority is None else dict(priority=priority)
    return dict(type=kind, momentum=0.1, **at)


@pytest.mark.parametrize(
    ('hooks', 'of'),
    [
        ([average('VERY_HIGH'), PRUNE], 'PruneHook'),
        ([PRUNE, average(41)], 'PruneHook'),
        ([average(42), PRUNE], 'PruneHook'),
        ([average('ABOVE_NORMAL'), {**PRUNE, 'straight_through': 'soft'}], 'PruneHook'),
        ([STEPS, average(kind='EagerEMAHook')], 'ProgressivePruneHook'),
        ([PRUNE, average('HIGH', 'mmpretrain.EMAHook')], 'PruneHook'),
        ([average(41), FIXED], 'FixedMaskHook'),
        ([average(40), SEARCH, STEPS, dict(type='ReactivateHook')], 'SearchHook'),
        ([SEARCH, STEPS, average(43), dict(type='ReactivateHook', on='prune')], 'ReactivateHook'),
    ],
)
def test_an_average_of_what_is_not_masked_yet_is_refused(
    hooks: list[dict], of: str, noise_runner: Callable[..., Runner], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"EMAHook .* before {of}.* priority 'NORMAL'"):
        noise_runner(hooks).train()
    assert not list((tmp_path / 'run').glob('*.pth'))


@pytest.mark.parametrize('straight_through', [None, 'hard'])
@pytest.mark.parametrize('priority', [None, 'NORMAL', 'LOW', 42])
def test_an_average_of_masked_weights_is_masked(
    priority: int | str | None,
    straight_through: str | None,
    noise_runner: Callable[..., Runner],
    tmp_path: Path,
) -> None:
    """In both sets of weights of the file, and the training goes on from it."""
    prune = {**PRUNE, 'straight_through': straight_through}
    hooks = [prune, average(priority)]
    noise_runner(hooks, 2).train()
    file = tmp_path / 'run' / 'epoch_2.pth'
    saved = load_checkpoint(file)
    ticket = Ticket.from_meta(saved['meta'])
    live = {n.removeprefix('module.'): t for n, t in saved['ema_state_dict'].items()}
    for weights in (saved['state_dict'], live):
        ticket.check_zeros(weights)
        zeros = sum(int((weights[name] == 0).sum()) for name in ticket.masks)
        total = sum(weights[name].numel() for name in ticket.masks)
        assert zeros / total == pytest.approx(0.9, abs=1e-3)
    noise_runner(hooks, 3, load_from=str(file), resume=True).train()


@pytest.mark.parametrize('hooks', [[PRUNE], [SEARCH]], ids=['prune', 'search'])
def test_two_averages_are_refused(hooks: list[dict], noise_runner: Callable[..., Runner]) -> None:
    averages = [average(), average(kind='mmpretrain.EMAHook')]
    with pytest.raises(ValueError, match=r'EMAHook and EMAHook, 2 averages .* keep one'):
        noise_runner([*averages, *hooks]).train()


def test_mmengine_loses_the_weights_in_training_with_two(
    noise_runner: Callable[..., Runner], validate: dict
) -> None:
    """If this fails, mmengine has mended it, and two averages need not be refused."""
    runner = noise_runner([average(), {**average(), 'momentum': 0.5}], 1, **validate)
    seen: list[dict] = []

    class Look(Hook):
        def after_train_epoch(self, runner: Runner) -> None:
            seen.append({n: p.clone() for n, p in runner.model.named_parameters()})

    runner.register_hook(Look())
    runner.train()
    now = dict(runner.model.named_parameters())
    assert not all(torch.equal(weight, now[name]) for name, weight in seen[0].items())
