"""The gradient that the optimizer gets is that of the loss plus the penalty, however it steps."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from st_mm.search import find_owners, input_sizes, unit_costs

RHO = 1e-2


class Recorder(Hook):
    """Keeps the gradient of every norm scale as the optimizer finds it."""

    def before_train(self, runner: Runner) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []
        owners = find_owners(runner.model)

        def record(optimizer, args, kwargs) -> None:
            self.steps.append({n: o.unit_bn.weight.grad.clone() for n, o in owners.items()})

        runner.optim_wrapper.optimizer.register_step_pre_hook(record)


@pytest.mark.parametrize(
    ('wrapper', 'steps'),
    [
        ({}, 8),
        (dict(accumulative_counts=2), 4),
        (dict(accumulative_counts=3), 3),  # 3 + 3 + 2 iterations
        (dict(clip_grad=dict(max_norm=1e6)), 8),
    ],
    ids=['plain', 'accumulation', 'incomplete accumulation', 'clipping'],
)
def test_gradient(
    wrapper: dict, steps: int, tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    recorded = []
    for rho in (0.0, RHO):
        config = tiny_config(
            tmp_path / f'rho{rho}',
            search=dict(rho=rho, warmup=0, interval=100),
            prune=None,
            reactivate=None,
            ema=None,
            train_cfg=dict(max_epochs=4, val_interval=10),
            optim_wrapper=dict(
                _delete_=True,
                type='OptimWrapper',
                optimizer=dict(type='SGD', lr=0.0),  # the same weights in both runs
                **wrapper,
            ),
            param_scheduler=[dict(type='ConstantLR', factor=1.0)],
        )
        runner = Runner.from_cfg(config)
        recorder = Recorder()
        runner.register_hook(recorder)
        for owner in find_owners(runner.model).values():
            owner.unit_bn.weight.data.uniform_(-1, 1)
        weights = {k: v.clone() for k, v in runner.model.state_dict().items()}
        runner.model.init_weights = lambda: None
        if recorded:
            runner.model.load_state_dict(recorded[0][1])
        runner.train()
        recorded.append((recorder.steps, weights))
    owners = find_owners(runner.model)
    costs = unit_costs(owners, input_sizes(runner.model, (3, 64, 128)))
    (without, _), (with_, _) = recorded
    assert len(without) == len(with_) == steps
    for before, after in zip(without, with_, strict=True):
        for name, owner in owners.items():
            expected = before[name] + RHO * costs[name].float() * owner.unit_bn.weight.sign()
            torch.testing.assert_close(after[name], expected, rtol=1e-5, atol=1e-7)
