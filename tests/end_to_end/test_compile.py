"""Trainings under mmengine's ``compile`` option end as eager ones; events bring other shapes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from mmengine import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, fx

from st_mm.hooks.run_state import RunState


class Watch(Hook):
    """Trains in float64, and notes when the network (what has convolutions) is compiled.

    In float32 other rounding, as of fused kernels, grows a hundredfold in two steps.
    """

    priority = 'VERY_HIGH'  # before EMAHook makes its copy
    current: 'Watch'

    def __init__(self) -> None:
        self.compiled: list[int] = []
        Watch.current = self

    def before_run(self, runner: Runner) -> None:
        runner.model.double()
        self.runner = runner

    def after_train_epoch(self, runner: Runner) -> None:
        masks = RunState.of(runner).masks
        for name, keep in masks.keep.items():
            assert not masks.weights[name][keep == 0].any(), name


def watched(graph: fx.GraphModule, inputs: list[Tensor]) -> Callable:
    """A compiler that tells ``Watch`` of its work."""
    if any('conv2d' in str(node.target) for node in graph.graph.nodes):
        watch = Watch.current
        watch.compiled.append(watch.runner.iter)
    return torch._dynamo.lookup_backend('aot_eager')(graph, inputs)


@pytest.fixture
def backend() -> Iterator[str]:
    """Name of a compiler of our own, in a dynamo that has compiled nothing as yet."""
    torch.compiler.reset()
    if 'watched' not in torch._dynamo.list_backends():
        torch._dynamo.register_backend(watched, 'watched')
    yield 'watched'
    torch.compiler.reset()


@pytest.mark.slow
def test_compiled_training_is_the_eager_one(
    backend: str, tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    """The network is compiled for its shapes, however often these change.

    Dynamo leaves a function to eager execution after 8 recompilations; here it has none.
    """
    runners, watches = [], []
    for compiled in (False, True):
        config = tiny_config(
            tmp_path / f'compiled-{compiled}',
            search=dict(interval=1, rho=0.1, warmup=0, threshold=0.997),
            prune=dict(interval=1, step=0.9, end=1),
            train_cfg=dict(max_epochs=2, val_interval=3),  # of 2 iterations
            optim_wrapper=dict(
                _delete_=True,
                type='OptimWrapper',
                optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4),
                paramwise_cfg=dict(norm_decay_mult=0),
            ),
            param_scheduler=[dict(type='ConstantLR', factor=1.0)],
            compile=dict(backend=backend) if compiled else False,
        )
        runners.append(Runner.from_cfg(config))
        watches.append(Watch())
        runners[-1].register_hook(watches[-1])
        with torch._dynamo.config.patch(recompile_limit=1):
            runners[-1].train()
    assert watches[0].compiled == []
    assert sorted(set(watches[1].compiled)) == [0, 2]  # some graphs are compiled in two parts
    eager, ours = (RunState.of(runner).ticket for runner in runners)
    assert all(event['removed'] for event in ours.events if event['kind'] == 'search')
    assert ours.units == eager.units
    eager, ours = (runner.model.state_dict() for runner in runners)
    torch.testing.assert_close(ours, eager, rtol=1e-6, atol=1e-6)
