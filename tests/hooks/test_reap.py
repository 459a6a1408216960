"""Units that masks have emptied go after the last prune, and nothing else changes."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from st_mm.analysis.curves import read_curves
from st_mm.analysis.plots import plot_training
from st_mm.analysis.survival import survival
from st_mm.hooks import ReapHook
from st_mm.hooks.run_state import LATENT, Moment, RunState, averaged_models, bare_model
from st_mm.measure import count_macs
from st_mm.search import count_units
from st_mm.ticket import Ticket, load_checkpoint
from st_mm.units import find_owners

PICTURE = (3, 32, 32)
MODEL = dict(backbone=dict(type='MobileNetV2', widen_factor=0.35))
EXCITED = dict(
    backbone=dict(type='MobileNetV3', arch='small_050'),
    head=dict(type='LinearClsHead', num_classes=4, in_channels=288),
)
SEARCH = dict(
    type='SearchHook', interval=3, rho=0.0, threshold=0.0, min_macs_drop=1, input_shape=PICTURE
)
EPOCHS, LAST = 6, 3  # the last prune
AVERAGE = dict(type='EMAHook', momentum=0.3, update_buffers=True)


def hooks(ratio: float = 0.9, reap: str = 'ReapHook', **prune: object) -> list[dict]:
    schedule = dict(type='Progressive', ratio=ratio, interval=1, step=ratio / LAST, end=LAST)
    pruner = dict(type='PruneHook', schedule=schedule, calibration_batches=2, **prune)
    return [{**SEARCH, 'calibration_batches': 2}, pruner, AVERAGE, dict(type=reap)]


def outputs(model: nn.Module) -> Tensor:
    model = deepcopy(model).double().eval()
    picture = torch.randn(2, *PICTURE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.head(model.neck(model.backbone(picture.double())))


@HOOKS.register_module()
class WatchedReapHook(ReapHook):
    """Compares what the networks compute before and after, and keeps how far they are apart."""

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        self.differences: list[float] = []

    def step(self, runner: Runner, moment: Moment) -> None:
        models = [bare_model(runner), *(ema.module for ema in averaged_models(runner))]
        before = [outputs(model) for model in models]
        count = len(RunState.of(runner).ticket.events)
        super().step(runner, moment)
        if len(RunState.of(runner).ticket.events) > count:
            self.differences += [
                float((outputs(model) - was).abs().max())
                for model, was in zip(models, before, strict=True)
            ]


def reaps(runner: Runner) -> list[dict]:
    return [e for e in RunState.of(runner).ticket.events if e['kind'] == 'reap']


@pytest.mark.parametrize('model', [MODEL, EXCITED], ids=['mobilenet_v2', 'mobilenet_v3'])
def test_outputs_stay(model: dict, noise_runner: Callable[..., Runner]) -> None:
    """Of the live network and of the EMA, and training goes on with fewer units."""
    runner = noise_runner(hooks(0.95, 'WatchedReapHook'), epochs=EPOCHS, model=model)
    units = count_units(find_owners(bare_model(runner)))
    before = dict(runner.model.named_parameters())
    runner.train()
    [watch] = [hook for hook in runner.hooks if isinstance(hook, ReapHook)]
    assert len(watch.differences) == 2
    assert max(watch.differences) < 1e-5
    [event] = reaps(runner)
    assert (event['t'], event['unit']) == (LAST, 'epoch')
    assert event['removed'] > 0.02 * units
    assert count_units(find_owners(bare_model(runner))) == units - event['removed']
    assert all(before[n] is p for n, p in runner.model.named_parameters())
    for parameter, state in runner.optim_wrapper.optimizer.state.items():
        for value in state.values():
            assert not torch.is_tensor(value) or value.shape in (parameter.shape, ())


def test_the_record_has_the_ratio_of_what_stays(
    noise_runner: Callable[..., Runner], tmp_path: Path
) -> None:
    runner = noise_runner(hooks(), epochs=EPOCHS, model=MODEL)
    runner.train()
    [event] = reaps(runner)
    assert abs(event['ratio'] - 0.9) > 0.01  # units take both kinds of weights with them
    for epoch in range(1, EPOCHS + 1):
        saved = load_checkpoint(tmp_path / 'run' / f'epoch_{epoch}.pth')
        ticket = Ticket.from_meta(saved['meta'])
        ratio = next(e['ratio'] for e in reversed(ticket.events) if 'ratio' in e)
        live = {n.removeprefix('module.'): t for n, t in saved['ema_state_dict'].items()}
        for weights in (saved['state_dict'], live):
            ticket.check_zeros(weights)
        total = sum(saved['state_dict'][name].numel() for name in ticket.masks)
        zeros = sum(int((~ticket.mask(name)).sum()) for name in ticket.masks)
        assert zeros / total == pytest.approx(ratio, abs=2e-5), epoch
        assert (ratio == event['ratio']) == (epoch >= LAST)
        assert {k: v.numel() for k, v in saved[LATENT][0].items()} == {
            name: int((~ticket.mask(name)).sum()) for name in ticket.masks
        }
    ticket.check(bare_model(runner))


def test_a_later_search_fits_the_masks_to_that_ratio(noise_runner: Callable[..., Runner]) -> None:
    """And what that empties goes too."""
    changed = hooks()
    changed[0] |= dict(interval=5, threshold=0.97, rho=1e-2, warmup=0)
    runner = noise_runner(changed, epochs=EPOCHS, model=MODEL)
    runner.train()
    kinds = [(e['kind'], e['t']) for e in RunState.of(runner).ticket.events if e['t'] >= LAST]
    assert kinds == [('prune', 3), ('reap', 3), ('search', 5), ('refit', 5), ('reap', 5)]
    first, second = reaps(runner)
    [refit] = [e for e in RunState.of(runner).ticket.events if e['kind'] == 'refit']
    assert refit['ratio'] == first['ratio']
    assert second['ratio'] <= first['ratio'] + 1e-4
    curves = read_curves(runner.work_dir)
    plot_training(curves)
    assert [event.x for event in curves.events if event.kind == 'reap'] == [LAST, 5]
    alive = sum(counts[-1] for counts in survival(RunState.of(runner).ticket).blocks.values())
    assert alive == count_units(find_owners(bare_model(runner))) == curves.units.y[-1]


@pytest.mark.parametrize('straight_through', [None, 'soft'])
def test_resumed(
    straight_through: str | None, noise_runner: Callable[..., Runner], tmp_path: Path
) -> None:
    """Before and after the reaping, bit for bit; best_at_target knows that the target is met."""
    changed = hooks(straight_through=straight_through)
    runner = noise_runner(changed, epochs=EPOCHS, model=MODEL)
    runner.train()
    whole = load_checkpoint(tmp_path / 'run' / f'epoch_{EPOCHS}.pth')
    for stop in (LAST - 1, LAST):
        file = str(tmp_path / 'run' / f'epoch_{stop}.pth')
        again = noise_runner(
            changed, EPOCHS, f'from {stop}', model=MODEL, load_from=file, resume=True
        )
        again.train()
        ended = load_checkpoint(tmp_path / f'from {stop}' / f'epoch_{EPOCHS}.pth')
        for entry in ('state_dict', 'ema_state_dict'):
            for name, tensor in whole[entry].items():
                assert torch.equal(ended[entry][name], tensor), name
        assert ended['meta']['ticket']['events'] == whole['meta']['ticket']['events']


def test_resumed_to_another_ratio(noise_runner: Callable[..., Runner], tmp_path: Path) -> None:
    """The ratio of a reaping is that of its config; one that asks for more gets it."""
    noise_runner(hooks(), epochs=LAST + 1, model=MODEL).train()
    file = str(tmp_path / 'run' / f'epoch_{LAST}.pth')
    changed = hooks(0.97)
    runner = noise_runner(changed, LAST + 2, 'more', model=MODEL, load_from=file, resume=True)
    runner.train()
    first, second = reaps(runner)
    [caught] = [e for e in RunState.of(runner).ticket.events if e.get('ratio') == 0.97]
    assert (caught['t'], second['t']) == (LAST, LAST + 1)
    assert second['removed'] > 0
    assert second['ratio'] > first['ratio']


def test_a_smaller_ticket_costs_less(noise_runner: Callable[..., Runner]) -> None:
    found = []
    for reap in (True, False):
        chosen = hooks() if reap else hooks()[:-1]
        runner = noise_runner(chosen, epochs=LAST + 1, name=str(reap), model=MODEL)
        runner.train()
        found.append(count_macs(bare_model(runner), PICTURE))
    reaped, plain = found
    assert reaped.dense < plain.dense


def test_it_needs_a_pruning_hook_and_units(noise_runner: Callable[..., Runner]) -> None:
    with pytest.raises(ValueError, match='ReapHook needs a PruneHook in custom_hooks too'):
        noise_runner([dict(type='ReapHook')]).train()
    model = dict(
        backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4),
        head=dict(type='LinearClsHead', num_classes=4, in_channels=32),
    )
    with pytest.raises(ValueError, match='ReapHook needs a model with search units, and Image'):
        noise_runner(hooks()[1:], epochs=EPOCHS, name='resnet', model=model).train()
