"""Masked weights that learn: gradients and averages as of a reference, what runs and is saved."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.func import functional_call

from st_mm.hooks.run_state import LATENT, THRESHOLDS, RunState, averaged_models, bare_model
from st_mm.prune import SCHEDULES, prunable_weights
from st_mm.ticket import Ticket, load_checkpoint

CUBIC = dict(type='Cubic', ratio=0.8, begin=2, end=10, interval=2)
STEPS = 16  # four epochs of four iterations
MOMENTUM = 0.1
OPTIMIZERS = dict(
    SGD=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-2),
    AdamW=dict(type='AdamW', lr=1e-3, weight_decay=1e-2),
    RMSprop=dict(type='RMSprop', lr=1e-3, momentum=0.9, weight_decay=1e-2),
)


def prune(kind: str | None, **changes: object) -> dict:
    hook = dict(type='PruneHook', schedule=CUBIC, by_epoch=False, calibration_batches=0)
    return {**hook, 'straight_through': kind, **changes}


class Double(Hook):
    """Trains in float64, and keeps what a reference needs: the first weights, and the batches."""

    priority = 'VERY_HIGH'  # before EMAHook makes its copy

    def before_run(self, runner: Runner) -> None:
        model = bare_model(runner).double()
        model.backbone.register_forward_pre_hook(lambda _, inputs: inputs[0].double())

    def before_train(self, runner: Runner) -> None:
        self.model, self.batches = deepcopy(bare_model(runner)).train(), []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict) -> None:
        self.batches.append(deepcopy(data_batch))


def reference(start: Double, optimizer: dict, soft: bool) -> tuple[dict, dict, dict, dict]:
    """Train with straight-through masks, as their definition says it: what runs, and is latent."""
    model, options, schedule = start.model, dict(optimizer), SCHEDULES.build(CUBIC)
    latent = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}
    average = {n: v.detach().clone() for n, v in latent.items()}
    keep, threshold = dict.fromkeys(latent, 1.0), dict.fromkeys(latent, 0.0)
    weights, stepper = (list(prunable_weights(model)), getattr(torch.optim, options.pop('type')))
    optimizer = stepper(latent.values(), **options)

    def seen(values: dict[str, Tensor]) -> dict[str, Tensor]:
        shrunk = {n: v.sign() * (v.abs() - threshold[n]).clamp(min=0) for n, v in values.items()}
        return {n: v.detach() * keep[n] for n, v in (shrunk if soft else values).items()}

    for step, batch in enumerate(start.batches, 1):
        run = {n: v.requires_grad_() for n, v in seen(latent).items()}
        data = {**model.data_preprocessor(batch, training=True), 'mode': 'loss'}
        functional_call(model, run, (), data)['loss'].backward()
        for name, value in latent.items():
            value.grad = run[name].grad
        optimizer.step()
        if schedule.due(step):
            sizes = torch.cat([latent[n].detach().abs().flatten() for n in weights]).sort().values
            limit = sizes[int(schedule.ratio_at(step) * len(sizes)) - 1] if step > 2 else -1
            for n in weights:
                size = latent[n].detach().abs()
                keep[n] = (size > limit).double()
                threshold[n] = float((size * (1 - keep[n])).max())
        for name, value in seen(latent).items():  # an average stands still where it is masked
            average[name] += keep[name] * (MOMENTUM if step > 1 else 1.0) * (value - average[name])
    return seen(latent), latent, average, keep


@pytest.mark.parametrize('kind', ['hard', 'soft'])
@pytest.mark.parametrize('optimizer', OPTIMIZERS)
def test_it_is_the_reference(
    kind: str, optimizer: str, noise_runner: Callable[..., Runner]
) -> None:
    """The gradient of what runs reaches every latent weight; the average is that of what runs."""
    double, wrapper = Double(), dict(optimizer=OPTIMIZERS[optimizer])
    average = dict(type='EMAHook', momentum=MOMENTUM)
    runner = noise_runner([prune(kind), average], epochs=STEPS // 4, optim_wrapper=wrapper)
    runner.register_hook(double)
    runner.train()
    live, latent, mean, keep = reference(double, OPTIMIZERS[optimizer], kind == 'soft')
    masks, [ema] = RunState.of(runner).masks, averaged_models(runner)
    assert masks.density() == pytest.approx(0.2, abs=1e-4)
    close = dict(rtol=1e-9, atol=1e-12)
    for name, weight in runner.model.named_parameters():
        torch.testing.assert_close(weight.detach(), live[name], **close)
    for name, weight in ema.module.named_parameters():
        torch.testing.assert_close(weight.detach(), mean[name] * keep[name], **close)
    for name, values in masks.latent[0].items():
        torch.testing.assert_close(values, latent[name].detach(), **close)
    for name, values in masks.latent[1].items():
        torch.testing.assert_close(values, mean[name] * (1 - keep[name]), **close)


def test_masks_move_at_each_prune(noise_runner: Callable[..., Runner]) -> None:
    """A weight that comes back shows that those under a mask have learned, and are chosen anew."""

    def ever_back(kind: str | None) -> bool:
        schedule = dict(type='Constant', ratio=0.5, begin=0, interval=4, end=12)
        hook = prune(kind, schedule=schedule)
        wrapper = dict(optimizer=OPTIMIZERS['AdamW'])
        runner = noise_runner([hook], epochs=4, name=str(kind), optim_wrapper=wrapper)
        runner.train()
        meta = load_checkpoint(Path(runner.work_dir) / 'epoch_4.pth')['meta']
        return any(event.get('flips') for event in Ticket.from_meta(meta).events[1:])

    assert not ever_back(None)
    assert ever_back('hard')
    assert ever_back('soft')


@pytest.mark.parametrize('kind', ['hard', 'soft'])
def test_files_have_zeros_and_what_learns(
    kind: str, noise_runner: Callable[..., Runner], tmp_path: Path
) -> None:
    average = dict(type='EMAHook', momentum=MOMENTUM)
    checkpoint = dict(type='CheckpointHook', interval=1, by_epoch=False, max_keep_ckpts=-1)
    runner = noise_runner([prune(kind), average], 3, default_hooks=dict(checkpoint=checkpoint))
    before = dict(runner.model.named_parameters())
    runner.train()
    assert all(before[n] is p for n, p in runner.model.named_parameters())
    files = sorted((tmp_path / 'run').glob('iter_*.pth'))
    assert len(files) == 12
    learned = []
    for file in files:
        saved = load_checkpoint(file)
        ticket = Ticket.from_meta(saved['meta'])
        assert (THRESHOLDS in saved) == (kind == 'soft' and bool(ticket.masks))
        live = {n.removeprefix('module.'): t for n, t in saved['ema_state_dict'].items()}
        for name in ticket.masks:
            kept = ticket.mask(name)
            for weights in (saved['state_dict'], live):
                assert not weights[name][~kept].any(), (file.name, name)
            if kind == 'hard' or file.name in ('iter_4.pth', 'iter_10.pth'):
                assert live[name][kept].all(), name  # kept weights run, right after a prune
        learned.append({n: v.clone() for n, v in saved[LATENT][0].items()})
    same = [name for name in learned[-1] if torch.equal(learned[-1][name], learned[-2][name])]
    assert not [name for name in same if learned[-1][name].numel()]


def test_reactivation_beside_it_is_refused(noise_runner: Callable[..., Runner]) -> None:
    hooks = [prune('hard'), dict(type='ReactivateHook', on='prune', scope='all')]
    runner = noise_runner(hooks, epochs=3)
    with pytest.raises(ValueError, match='ReactivateHook frees masked weights at events, and'):
        runner.train()


def test_a_second_training_learns_once(noise_runner: Callable[..., Runner]) -> None:
    """Nothing of the first training's hold on the optimizer is left."""
    runner = noise_runner([prune('hard')], epochs=3)
    runner.train()
    optimizer = runner.optim_wrapper.optimizer
    count = len(optimizer._optimizer_step_pre_hooks)
    runner.call_hook('before_train')
    assert len(optimizer._optimizer_step_pre_hooks) == count == 1
