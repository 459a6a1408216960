"""The gradient that the optimizer gets is that of the loss plus the penalty, however it steps.

For that of several ranks see tests/end_to_end/test_ddp.py.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from mmengine import Config
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner
from torch import Tensor, nn

from st_mm.hooks.run_state import RunState
from st_mm.models.token_mixer import TokenMixer
from st_mm.search import input_sizes, unit_costs
from st_mm.units import find_owners

RHO = 1e-2
NO_CHANGE: dict = {}
Gradients = dict[str, Tensor]


@OPTIM_WRAPPERS.register_module()
class CpuAmpOptimWrapper(AmpOptimWrapper):
    """The stock wrapper, whose ``__init__`` insists on a GPU, with a scaler for the CPU."""

    def __init__(self, loss_scale: dict, dtype: str, **kwargs: object) -> None:
        if not hasattr(torch.amp, 'GradScaler'):
            pytest.skip('torch < 2.3 has no scaler for the CPU')
        OptimWrapper.__init__(self, **kwargs)
        self.loss_scaler = torch.amp.GradScaler('cpu', **loss_scale)
        self.cast_dtype = getattr(torch, dtype)
        self._scale_update_param = None


SCALED = dict(loss_scale=dict(init_scale=2.0**10))
BF16 = dict(type='CpuAmpOptimWrapper', dtype='bfloat16')


class Recorder(Hook):
    """Keeps all gradients as the optimizer finds them, and the penalty's share in them.

    First it draws the scales of the units, from both signs; ``dead`` of each mixer's are 0.
    """

    def __init__(self, dead: int = 0) -> None:
        self.dead = dead
        self.iterations: list[int] = []
        self.steps: list[Gradients] = []
        self.penalties: list[Gradients] = []

    def before_train(self, runner: Runner) -> None:
        owners = find_owners(runner.model)
        sizes = input_sizes(runner.model, (3, 64, 128))
        weights = dict(runner.model.named_parameters())
        names = {weight: name for name, weight in weights.items()}
        generator = torch.Generator().manual_seed(0)
        for owner in owners.values():
            scale = owner.unit_bn.weight.data
            scale.copy_(torch.rand(scale.shape, generator=generator) * 2 - 1)
            if isinstance(owner, TokenMixer):
                scale[: self.dead] = 0

        def record(*_: object) -> None:
            self.iterations.append(runner.iter)
            self.steps.append({name: weight.grad.clone() for name, weight in weights.items()})
            costs = unit_costs(owners, sizes)
            scales = {name: owner.unit_bn.weight for name, owner in owners.items()}
            self.penalties.append(
                {
                    names[scale]: RHO * costs[name].to(scale) * scale.detach().sign()
                    for name, scale in scales.items()
                }
            )

        runner.optim_wrapper.optimizer.register_step_pre_hook(record)


class Overflow(Hook):
    """Makes the gradients of some iterations infinite."""

    def __init__(self, iterations: Sequence[int]) -> None:
        self.iterations = iterations

    def before_train(self, runner: Runner) -> None:
        weight = next(runner.model.parameters())
        weight.register_hook(lambda g: g * torch.inf if runner.iter in self.iterations else g)


@pytest.fixture
def train(tiny_config: Callable[..., Config], tmp_path: Path) -> Callable[..., Runner]:
    """Train 4 iterations from the same weights, which stay as they are unless ``lr`` is given."""

    def run(
        rho: float,
        *hooks: Hook,
        optim: dict,
        lr: float = 0.0,
        search: dict = NO_CHANGE,
        **changes: object,
    ) -> Runner:
        config = tiny_config(
            tmp_path / f'rho{rho}',
            search={**dict(rho=rho, warmup=0, interval=100), **search},
            **{'prune': None, **changes},
            reactivate=None,
            ema=None,
            train_cfg=dict(max_epochs=2, val_interval=10),
            optim_wrapper=dict(
                _delete_=True,
                **{'type': 'OptimWrapper', **optim},
                optimizer=dict(type='SGD', lr=lr),
            ),
            param_scheduler=[dict(type='ConstantLR', factor=1.0)],
        )
        runner = Runner.from_cfg(config)
        for hook in hooks:
            runner.register_hook(hook)
        runner.train()
        return runner

    return run


def with_penalty(without: Recorder, penalties: Sequence[Gradients]) -> list[Gradients]:
    """Gradients of the loss turned into those of the loss and the penalty."""
    return [
        {name: gradient + penalty.get(name, 0) for name, gradient in step.items()}
        for step, penalty in zip(without.steps, penalties, strict=True)
    ]


def clip(gradients: Gradients, max_norm: float) -> Gradients:
    """Clip as torch does, outside of a training."""
    weights = [nn.Parameter(torch.empty_like(gradient)) for gradient in gradients.values()]
    for weight, gradient in zip(weights, gradients.values(), strict=True):
        weight.grad = gradient.clone()
    assert nn.utils.clip_grad_norm_(weights, max_norm) > max_norm
    return {name: weight.grad for name, weight in zip(gradients, weights, strict=True)}


def assert_steps(ours: Recorder, expected: list[Gradients]) -> None:
    torch.testing.assert_close(ours.steps, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('optim', 'steps'),
    [
        ({}, 4),
        (dict(accumulative_counts=3), 2),  # 3 + 1 iterations
        ({**BF16, **SCALED}, 4),
        ({**BF16, **SCALED, 'accumulative_counts': 3}, 2),
        ({**BF16, 'loss_scale': dict(enabled=False)}, 4),
        pytest.param(
            {**SCALED, 'type': 'AmpOptimWrapper', 'dtype': 'float16'}, 4, marks=pytest.mark.gpu
        ),
    ],
    ids=[
        'plain',
        'accumulation',
        'scaled bf16',
        'scaled bf16, accumulation',
        'bf16',
        'scaled fp16',
    ],
)
def test_gradient(optim: dict, steps: int, train: Callable[..., Runner]) -> None:
    without, ours = Recorder(), Recorder()
    train(0.0, without, optim=optim)
    train(RHO, ours, optim=optim)
    assert len(ours.steps) == steps
    assert_steps(ours, with_penalty(without, ours.penalties))


@pytest.mark.slow
@pytest.mark.parametrize('amp', [{}, {**BF16, **SCALED}], ids=['float32', 'scaled bf16'])
def test_clipping(amp: dict, train: Callable[..., Runner]) -> None:
    """The sum is clipped, at its own scale."""
    without, ours = Recorder(), Recorder()
    train(0.0, without, optim=amp)
    train(RHO, ours, optim={**amp, 'clip_grad': dict(max_norm=0.1)})
    expected = [clip(step, 0.1) for step in with_penalty(without, ours.penalties)]
    assert_steps(ours, expected)


@pytest.mark.slow
def test_smaller_scale_after_a_skipped_step(train: Callable[..., Runner]) -> None:
    without, ours = Recorder(), Recorder()
    for rho, recorder in ((0.0, without), (RHO, ours)):
        runner = train(rho, recorder, Overflow([1]), optim={**BF16, **SCALED})
        assert runner.optim_wrapper.loss_scaler.get_scale() == 2.0**9
        assert recorder.iterations == [0, 2, 3]
    assert_steps(ours, with_penalty(without, ours.penalties))


def test_masks_through_a_skipped_step(train: Callable[..., Runner]) -> None:
    """Right after a prune: all weights stay finite, and the masked ones zero."""
    prune = dict(interval=1, step=0.5, ratio=0.5, end=1)
    recorder = Recorder()
    optim = {**BF16, **SCALED}
    runner = train(RHO, recorder, Overflow([2]), optim=optim, lr=1e-2, prune=prune)
    assert recorder.iterations == [0, 1, 3]
    masks = RunState.of(runner).masks
    assert masks.density() == pytest.approx(0.5, abs=1e-3)
    for name, keep in masks.keep.items():
        assert not masks.weights[name][keep == 0].any(), name
    assert all(weight.isfinite().all() for weight in runner.model.parameters())


@pytest.mark.slow
def test_tokens(train: Callable[..., Runner]) -> None:
    """A token costs what removing it would save, given the tokens alive then."""
    without, ours = Recorder(dead=2), Recorder(dead=2)
    search = dict(interval=1, threshold=0.0)  # after 2 iterations
    for rho, recorder in ((0.0, without), (RHO, ours)):
        runner = train(rho, recorder, optim={}, search=search, model=dict(backbone=dict(tokens=4)))
    owners = find_owners(runner.model)
    name = 'backbone.stages.0.branches.0.0'
    block, mixer = owners[name], owners[f'{name}.shortcut']
    channel = block.unit_macs(input_sizes(runner.model, (3, 64, 128))[name])[0].item()
    for penalty, tokens in ((ours.penalties[1], 4), (ours.penalties[2], 2)):
        token = penalty[f'{name}.shortcut.input_norm.weight'].abs()
        per_channel = penalty[f'{name}.depthwise_bn.weight'].abs()[0]
        marginal = mixer.mixer_macs(tokens) - mixer.mixer_macs(tokens - 1)
        assert len(token) == tokens
        assert (token[-1] / per_channel).item() == pytest.approx(marginal / channel, rel=1e-5)
    assert_steps(ours, with_penalty(without, ours.penalties))
