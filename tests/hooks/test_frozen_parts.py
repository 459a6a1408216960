"""What does not train is left alone in every way; what is frozen or freed meanwhile is followed."""

from collections.abc import Callable

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from st_mm.hooks.run_state import RunState


def body() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1)
    )


class Distilled(BaseModel):
    """A student beside a teacher; both are frozen and freed by hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.student, self.teacher, self.fc = body(), body(), nn.Linear(8, 2)

    def forward(self, inputs, mode='tensor'):
        x = self.student(inputs) + self.teacher(inputs)
        scores = self.fc(x.mean((2, 3)))
        return dict(loss=scores.square().mean()) if mode == 'loss' else scores


class Freeze(Hook):
    """Freezes the teacher, or frees it, when an epoch begins (from 0; -1 before training)."""

    priority = 'VERY_HIGH'

    def __init__(self, trains: dict[int, bool]) -> None:
        self.trains = trains

    def _set(self, runner: Runner, epoch: int) -> None:
        if epoch in self.trains:
            runner.model.teacher.requires_grad_(self.trains[epoch])

    def before_train(self, runner: Runner) -> None:
        self._set(runner, -1)

    def before_train_epoch(self, runner: Runner) -> None:
        self._set(runner, runner.epoch)


def train(tmp_path, hooks: list, epochs: int = 4, model: nn.Module | None = None) -> Runner:
    data = [torch.randn(3, 6, 6) for _ in range(4)]
    runner = Runner(
        model or Distilled(),
        str(tmp_path),
        train_dataloader=DataLoader(data, batch_size=2, collate_fn=lambda x: (torch.stack(x),)),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, weight_decay=0.1)),
        custom_hooks=hooks,
        log_level='ERROR',
        experiment_name=f'frozen-{tmp_path.name}',
    )
    runner.train()
    return runner


def shot(at: int = 1, **kwargs) -> dict:
    return dict(type='PruneHook', schedule=dict(type='OneShot', ratio=0.75, at=at), **kwargs)


def density(*parts: nn.Module) -> float:
    weights = [m.weight for p in parts for m in p.modules() if isinstance(m, nn.Conv2d)]
    return sum(int(w.count_nonzero()) for w in weights) / sum(w.numel() for w in weights)


@pytest.mark.parametrize('skip', [[], ['teacher.*']])
def test_a_frozen_teacher_is_left_alone(tmp_path, skip) -> None:
    model = Distilled()
    model.teacher.requires_grad_(False).eval()
    before = {name: t.clone() for name, t in model.teacher.state_dict().items()}
    mode: Callable = model.train
    model.train = lambda on=True: (mode(on), model.teacher.eval())[0]  # type: ignore[method-assign]
    runner = train(tmp_path, [shot(skip=skip)], model=model)
    assert all(torch.equal(t, before[n]) for n, t in model.teacher.state_dict().items())
    masks = RunState.of(runner).masks
    assert set(masks.keep) == {'student.0.weight', 'student.3.weight'}
    assert masks.density() == density(model.student) == 0.25


def test_what_is_freed_later_is_pruned_from_then_on(tmp_path) -> None:
    runner = train(tmp_path, [Freeze({-1: False, 2: True}), shot()])
    model, masks = runner.model, RunState.of(runner).masks
    assert masks.density() == density(model.student, model.teacher) == 0.25
    kinds = [event['kind'] for event in RunState.of(runner).ticket.events]
    assert kinds == ['prune', 'refit']


def test_what_is_frozen_later_is_left_as_it_is_from_then_on(tmp_path) -> None:
    seen = {}

    class Note(Hook):
        def before_train_epoch(self, runner):
            seen[runner.epoch] = runner.model.teacher[0].weight.clone()

    schedule = dict(type='Progressive', ratio=0.75, interval=1, step=0.25)
    hooks = [Freeze({2: False}), dict(type='PruneHook', schedule=schedule), Note()]
    runner = train(tmp_path, hooks)
    model, masks = runner.model, RunState.of(runner).masks
    assert torch.equal(seen[2], model.teacher[0].weight)  # masked by half, and no more
    assert 0 < density(model.student) < density(model.teacher)
    assert masks.density() == density(model.student, model.teacher)


def test_a_discriminator_that_another_optimizer_moves_is_left_alone(tmp_path) -> None:
    class Adversarial(Distilled):
        def parameters_of_the_generator(self):
            return [*self.student.parameters(), *self.fc.parameters()]

    model = Adversarial()
    optimizer = torch.optim.SGD(model.parameters_of_the_generator(), lr=0.05)
    data = [torch.randn(3, 6, 6) for _ in range(4)]
    runner = Runner(
        model,
        str(tmp_path),
        train_dataloader=DataLoader(data, batch_size=2, collate_fn=lambda x: (torch.stack(x),)),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=optimizer),
        custom_hooks=[shot()],
        log_level='ERROR',
        experiment_name=f'frozen-{tmp_path.name}',
    )
    before = [p.clone() for p in model.teacher.parameters()]
    runner.train()
    assert all(map(torch.equal, model.teacher.parameters(), before))
    assert density(model.student) == 0.25
    assert density(model.teacher) == 1
