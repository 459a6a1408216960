"""What an event will compute is tried before the first step, not 25 epochs later."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import nn

ONCE = dict(type='OneShot', ratio=0.5, at=1)
RunnerOf = Callable[..., Runner]


@MODELS.register_module()
class OwnStep(BaseModel):
    """Computes its loss in ``train_step`` alone; ``mode`` is left out where ``strict``."""

    def __init__(self, data_preprocessor: dict, strict: bool) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1))
        self.steps = 0
        if strict:
            self.forward = self.plain

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        return self.net(inputs)

    def plain(self, inputs: Any, data_samples: Any = None) -> Any:
        return self.net(inputs)

    def train_step(self, data: Any, optim_wrapper: Any) -> Any:
        self.steps += 1
        loss = self.net(self.data_preprocessor(data, True)['inputs']).square().mean()
        optim_wrapper.update_params(loss)
        return dict(loss=loss.detach())


@MODELS.register_module()
class NoGraph(OwnStep):
    """Gives a loss in ``mode='loss'`` that nothing can be differentiated by."""

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        return dict(loss=super().forward(inputs).square().mean().detach())


@MODELS.register_module()
class NoTargets(OwnStep):
    """Fails to compute its loss."""

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        return dict(loss=super().forward(inputs).mean() * {}['weight'])


def model_of(kind: str, strict: bool = False) -> dict:
    return dict(type=kind, strict=strict, data_preprocessor=dict(type='ClsDataPreprocessor'))


@pytest.mark.parametrize(
    ('kind', 'score'),
    [
        ('OwnStep', 'snip'),
        ('OwnStep', 'movement'),
        ('OwnStep', 'grasp'),
        ('NoGraph', 'snip'),
        ('NoTargets', 'movement'),
    ],
)
def test_a_score_without_its_loss_is_refused_before_the_first_step(
    noise_runner: RunnerOf, kind: str, score: str
) -> None:
    hook = dict(type='PruneHook', schedule=ONCE, score=score, calibration_batches=0)
    runner = noise_runner([hook], model=model_of(kind))
    with pytest.raises(ValueError, match=f'the score {score} cannot be computed for {kind}'):
        runner.train()
    assert runner.model.steps == 0


def test_growth_without_a_loss_is_refused_before_the_first_step(noise_runner: RunnerOf) -> None:
    prune = dict(type='PruneHook', schedule=ONCE, calibration_batches=0)
    grow = dict(type='ReactivateHook', on='prune', mode='gradient', scope='all')
    runner = noise_runner([prune, grow], model=model_of('OwnStep'))
    with pytest.raises(ValueError, match=r'gradient.* cannot be computed for OwnStep'):
        runner.train()
    assert runner.model.steps == 0


def test_a_forward_pass_that_fails_is_refused_before_the_first_step(
    noise_runner: RunnerOf,
) -> None:
    runner = noise_runner([dict(type='PruneHook', schedule=ONCE)], model=model_of('OwnStep', True))
    with pytest.raises(
        ValueError, match=r'BN statistics cannot .* OwnStep .*calibration_batches=0'
    ):
        runner.train()
    assert runner.model.steps == 0


@pytest.mark.parametrize(('score', 'calibration'), [('magnitude', 0), ('random', 2)])
def test_what_needs_no_loss_trains_a_model_with_its_own_step(
    noise_runner: RunnerOf, score: str, calibration: int
) -> None:
    hook = dict(
        type='PruneHook', schedule=ONCE, score=score, calibration_batches=calibration
    )  # fmt: skip
    runner = noise_runner([hook], model=model_of('OwnStep', strict=not calibration))
    runner.train()
    weight = runner.model.net[0].weight  # the last layer is dense
    assert int((weight == 0).sum()) == weight.numel() // 2


def test_a_rehearsal_leaves_no_trace(noise_runner: RunnerOf) -> None:
    """Both trainings prune after their end, so that they differ in the rehearsal alone."""
    ends = []
    for score in ('magnitude', 'snip'):
        late = dict(type='OneShot', ratio=0.5, at=2)
        hook = dict(type='PruneHook', schedule=late, score=score)
        runner = noise_runner([hook], epochs=2, name=score)
        states: list = []
        runner.register_hook(Before(states))
        runner.train()
        ends.append(states[0])
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


class Before(Hook):
    """Keep the weights after the first epoch, before anything is pruned."""

    priority = 'VERY_HIGH'

    def __init__(self, states: list) -> None:
        self.states = states

    def after_train_epoch(self, runner: Runner) -> None:
        self.states.append({n: t.clone() for n, t in runner.model.state_dict().items()})
