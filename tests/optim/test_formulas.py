"""What moves the weights besides the gradient, in float64: averages, penalty, learning rate.

Every formula is written out here as the published code has it (AtomNAS, HR-NAS), and ours comes
from the configs and out of a real ``Runner``.
"""

import copy
from math import ceil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.hooks import EMAHook, Hook
from mmengine.model import BaseModel
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import Runner
from torch import nn

import st_mm.optim  # noqa: F401 - registers what the configs name
from st_mm.models import AtomicBlock
from st_mm.search import penalty
from st_mm.units import find_owners

SCHEDULES = Path(__file__).parents[2] / 'configs' / '_base_' / 'schedules'
EPOCH = 7  # iterations


class Net(BaseModel):
    """Two blocks, the second at half the size, and a loss that is 0 but for what is asked."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.first = AtomicBlock(3, 4, kernel_sizes=(3, 5), expand_ratio=2)
        self.second = AtomicBlock(4, 6, stride=2, kernel_sizes=(7,), expand_ratio=1)
        self.double()

    def init_weights(self) -> None:
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        out = self.second(self.first(inputs))
        return dict(loss=self.weight * out.square().mean()) if mode == 'loss' else out


class Pictures(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 2 * EPOCH

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return dict(inputs=torch.randn(3, 8, 10, generator=generator, dtype=torch.float64))


def train(tmp_path: Path, weight: float, epochs: int, hooks: list[Hook | dict]) -> Runner:
    runner = Runner(
        model=Net(weight),
        work_dir=str(tmp_path / 'run'),
        train_dataloader=dict(
            batch_size=2,
            dataset=Pictures(),
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-2)),
        custom_hooks=hooks,
        default_hooks=dict(checkpoint=None, logger=None),
        randomness=dict(seed=0),
        experiment_name=tmp_path.name,
        log_level='WARNING',
    )
    runner.train()
    return runner


# The average


class Averages(Hook):
    """Keeps the weights of every iteration, from before the first, and their averages."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.weights: list[dict] = []
        self.averages: list[dict] = []

    def before_train(self, runner: Runner) -> None:
        self.weights.append(self.tensors(runner.model))

    def after_train_iter(self, runner: Runner, *_: object, **__: object) -> None:
        (ema,) = [hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook)]
        self.weights.append(self.tensors(runner.model))
        self.averages.append(self.tensors(ema.module))

    @staticmethod
    def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
        """What the published code averages: parameters and BN statistics."""
        state = copy.deepcopy(model.state_dict())
        return {name: t for name, t in state.items() if not name.endswith('num_batches_tracked')}


def published_averages(weights: list[dict], decay: float) -> list[dict]:
    shadow, averages = weights[0], []
    for n, live in enumerate(weights[1:], start=1):  # the step is counted before the average
        d = min(decay, (1 + n) / (10 + n))
        shadow = {name: d * mean + (1 - d) * live[name] for name, mean in shadow.items()}
        averages.append(shadow)
    return averages


def difference(ours: list[dict], theirs: list[dict]) -> list[float]:
    """Largest difference over all tensors, by iteration."""
    pairs = zip(ours, theirs, strict=True)
    return [max((a[n] - b[n]).abs().max().item() for n in a) for a, b in pairs]


@pytest.mark.parametrize(
    ('schedule', 'batch'),
    [
        ('rmsprop_350e', 256),
        ('one_cycle_430e', 32),
        ('one_cycle_200e', 64),
        ('step_210e', 384),
        (None, 4096 * 2000),  # a decay that the ramp passes after 35 updates
    ],
)
def test_average(schedule, batch, tmp_path: Path) -> None:
    decay = 0.9999 ** (batch / 4096)
    config = Config.fromfile(SCHEDULES / 'ema.py').ema.to_dict()
    if schedule:
        (ema,) = Config.fromfile(SCHEDULES / f'{schedule}.py').to_dict()['custom_hooks']
        assert ema == {**config, 'momentum': ema['momentum']}
    else:
        ema = {**config, 'momentum': 1 - decay}
    recorder = Averages()
    # EMAHook copies the model before it is initialized; InitialCheckpointHook mends the copy
    train(tmp_path, 1.0, 10, [ema, dict(type='InitialCheckpointHook'), recorder])
    assert len(recorder.averages) == 10 * EPOCH
    assert any(name.endswith('running_var') for name in recorder.averages[0])
    expected = published_averages(recorder.weights, decay)
    assert max(difference(recorder.averages, expected)) < 1e-12
    live = difference(recorder.averages, recorder.weights[1:])
    assert live[-1] > 1e-3  # an average at all


def test_average_of_mmengine_counts_two_behind(tmp_path: Path) -> None:
    """Why there is one of ours: theirs starts as a copy, with 9 / (9 + 1) at the second update."""
    recorder = Averages()
    ema = dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=1e-6, gamma=9)
    train(tmp_path, 1.0, 2, [{**ema, 'update_buffers': True}, recorder])
    shadow, expected = recorder.weights[1], [recorder.weights[1]]
    for n, live in enumerate(recorder.weights[2:]):
        d = (1 + n) / (10 + n)
        shadow = {name: d * mean + (1 - d) * live[name] for name, mean in shadow.items()}
        expected.append(shadow)
    assert max(difference(recorder.averages, expected)) < 1e-12
    published = published_averages(recorder.weights, 1 - 1e-6)
    assert difference(recorder.averages, published)[-1] > 1e-3


# The penalty


class Gradients(Hook):
    """Keeps the penalty's value and the scales with their gradients, as the optimizer sees them."""

    def __init__(self) -> None:
        self.steps: list[dict[str, tuple[torch.Tensor, torch.Tensor]]] = []
        self.values: list[float] = []

    def before_train(self, runner: Runner) -> None:
        owners = find_owners(runner.model)
        (search,) = [hook for hook in runner.hooks if hasattr(hook, 'penalty')]

        def record(*_: object) -> None:
            scales = {name: owner.unit_bn.weight for name, owner in owners.items()}
            self.steps.append({n: (w.detach().clone(), w.grad.clone()) for n, w in scales.items()})
            strength = search.penalty.strength
            self.values.append(penalty(owners, search.costs, strength).item())

        runner.optim_wrapper.optimizer.register_step_pre_hook(record)


def test_penalty(tmp_path: Path) -> None:
    """rho rises from 0 with each iteration of the warm-up; units cost their MACs over the mean."""
    rho, warmup = 0.3, 2
    search = dict(type='SearchHook', rho=rho, warmup=warmup, interval=100, input_shape=(3, 8, 10))
    recorder = Gradients()
    train(tmp_path, 0.0, 4, [search, recorder])  # no gradients but those of the penalty
    # expand and filter and project, of which the second block's stride quarters the positions
    macs = {'first': [80 * 3 + 80 * 9 + 80 * 4] * 6 + [80 * 3 + 80 * 25 + 80 * 4] * 6}
    macs['second'] = [80 * 4 + 20 * 49 + 20 * 6] * 4
    mean = (6 * 1280 + 6 * 2560 + 4 * 1420) / 16
    costs = {name: torch.tensor(m, dtype=torch.float64) / mean for name, m in macs.items()}
    assert len(recorder.steps) == 4 * EPOCH
    for i, (step, value) in enumerate(zip(recorder.steps, recorder.values, strict=True)):
        now = rho * min(i / (warmup * EPOCH), 1)
        loss = sum(
            now * cost * abs(r)
            for name, (scales, _) in step.items()
            for cost, r in zip(costs[name].tolist(), scales.tolist(), strict=True)
        )
        assert value == pytest.approx(loss, rel=1e-12, abs=0)
        for name, (scales, gradient) in step.items():
            expected = now * costs[name] * scales.sign()
            torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=0)


# The learning rate of the ImageNet recipe

BASE_LR, BASE_BATCH, PICTURES = 0.016, 256, 1_281_167


def published_rates(batch: int, iterations: int) -> np.ndarray:
    """Warmed up over 5 epochs where the rate is scaled; the decay counts from the beginning."""
    epoch = ceil(PICTURES / batch)
    lr = BASE_LR * batch / BASE_BATCH
    i = np.arange(iterations)
    rates = lr * 0.97 ** (5 * i // (12 * epoch))  # 2.4 epochs
    warm = i <= 5 * epoch
    ratio = BASE_LR / lr
    warmed = lr * (ratio + i / (5 * epoch) * (1 - ratio))
    return np.where(warm, warmed, rates) if lr > BASE_LR else rates


def rates(schedulers: list[dict], lr: float, iterations: int) -> np.ndarray:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    built = [PARAM_SCHEDULERS.build({**s, 'optimizer': optimizer}) for s in schedulers]
    found = np.empty(iterations)
    for i in range(iterations):
        found[i] = optimizer.param_groups[0]['lr']
        optimizer.step()
        for scheduler in built:
            scheduler.step()
    return found


def test_imagenet_rate() -> None:
    """Over the first 20 epochs: 8 stairs."""
    config = Config.fromfile(SCHEDULES / 'rmsprop_350e.py')
    lr = config.optim_wrapper.optimizer.lr
    assert lr == BASE_LR
    assert config.auto_scale_lr.base_batch_size == BASE_BATCH
    iterations = 20 * 5005
    found = rates(config.to_dict()['param_scheduler'], lr, iterations)
    np.testing.assert_allclose(found, published_rates(BASE_BATCH, iterations), rtol=1e-12, atol=0)
    assert len(set(found)) == 9


@pytest.mark.parametrize('batch', [512, 1024])
def test_scaled_imagenet_rate(batch) -> None:
    """What the recipe takes at another batch: mm's schedulers can say it as exactly."""
    epoch = ceil(PICTURES / batch)
    warmup = 5 * epoch + 1
    schedulers = [
        dict(
            type='LinearLR',
            start_factor=BASE_BATCH / batch,
            begin=0,
            end=warmup,
            by_epoch=False,
        ),
        dict(
            type='MultiStepLR',
            gamma=0.97,
            # the two stairs within the warm-up are taken after it, at once
            milestones=[warmup] * 2 + [ceil(12 * epoch * k / 5) for k in range(3, 146)],
            by_epoch=False,
        ),
    ]
    iterations = 20 * epoch
    found = rates(schedulers, BASE_LR * batch / BASE_BATCH, iterations)
    np.testing.assert_allclose(found, published_rates(batch, iterations), rtol=1e-12, atol=0)
