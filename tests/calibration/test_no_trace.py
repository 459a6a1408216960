"""What a pass beside training may change and has to leave: every kind of state a model keeps."""

import random
from collections import OrderedDict, deque

import numpy as np
import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from torch import Tensor, nn

from st_mm.calibration import no_trace, recalibrate
from st_mm.prune import Evidence, prunable_weights


class Keeper(nn.Module):
    """Keeps one of everything, and changes all of it in each forward."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)
        self.average = ExponentialMovingAverage(self.layer, momentum=0.5)
        self.teacher = [nn.Conv2d(2, 3, 1)]  # hidden from the parameters
        self.register_buffer('queue', torch.zeros(4))
        self.register_buffer('pointer', torch.zeros(1).long(), persistent=False)
        self.center = torch.zeros(3)
        self.calls, self.cache = 0, {}
        self.seen, self.ring, self.names = [], deque(maxlen=2), {'a'}
        self.order = OrderedDict(a=1, b=2)
        self.array = np.zeros(3)
        self.chances = [random.Random(0), np.random.default_rng(0), np.random.RandomState(0)]
        self.generator = torch.Generator().manual_seed(0)
        self.helper = type('Helper', (), {})()
        self.helper.count = 0

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.average.update_parameters(self.layer)
            self.teacher[0].weight.mul_(2)
            self.teacher[0].weight.requires_grad_(False)
            self.queue = torch.roll(self.queue, 1) + 1
            self.pointer += 1
            self.center = 0.9 * self.center + 1
            self.layer.weight.mul_(1.5)
        y = self.norm(self.layer(x))
        self.calls += 1
        self.helper.count += 1
        self.cache[self.calls] = y
        self.seen.append(y)
        self.ring.append(self.calls)
        self.names.add(self.calls)
        self.order.move_to_end('a')
        self.array += 1
        self.last = y
        self.layer.register_forward_hook(lambda *_: None)
        drawn = self.chances[0].random() + self.chances[1].random() + self.chances[2].rand()
        noise = torch.rand(1, generator=self.generator) + drawn
        return noise.to(x) * y + random.random() + np.random.rand()


def state(keeper: Keeper) -> list:
    """All that it keeps, in values."""
    modules = [*keeper.modules(), keeper.teacher[0]]
    tensors = [t for m in modules for t in (*m.parameters(False), *m.buffers(False))]
    plain = (keeper.calls, keeper.cache, keeper.seen, list(keeper.ring), keeper.names)
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), m.training) for m in modules]
    draws = [keeper.chances[0].getstate(), keeper.chances[1].bit_generator.state]
    draws += [str(keeper.chances[2].get_state()), keeper.generator.get_state().tolist()]
    draws += [random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()]
    return [
        [(id(t), t.tolist(), t.requires_grad, t.grad is None) for t in tensors],
        [sorted(vars(m)) for m in modules],
        (*map(repr, plain), keeper.center.tolist(), keeper.helper.count, keeper.array.tolist()),
        (list(keeper.order), hooks, draws),
    ]


@pytest.mark.parametrize('fails', [False, True])
def test_everything_is_put_back(fails) -> None:
    keeper = Keeper()
    keeper.layer.weight.grad = torch.ones_like(keeper.layer.weight)
    before = state(keeper)
    x = torch.rand(2, 2, 4, 4)
    random_states = state(keeper)
    for _ in range(2):
        try:
            with no_trace([keeper]):
                keeper(x).sum().backward() if fails else keeper(x)
                assert state(keeper) != before
                if fails:
                    raise KeyError
        except KeyError:
            assert fails
        assert state(keeper)[:3] == before[:3]
        assert state(keeper)[3] == random_states[3]


def test_what_is_named_keeps_its_new_values() -> None:
    keeper = Keeper()
    mean = keeper.norm.running_mean
    with no_trace([keeper], but=[mean]):
        keeper(torch.rand(2, 2, 4, 4))
    assert mean.any()
    assert keeper.norm.running_var.tolist() == [1, 1, 1]


def test_recalibration_changes_statistics_alone() -> None:
    keeper, x = Keeper(), torch.rand(2, 2, 4, 4)
    before = state(keeper)
    mean = keeper.norm.running_mean.clone()
    recalibrate([keeper], [x, x], lambda model, batch: model(batch))
    assert not torch.equal(mean, keeper.norm.running_mean)
    keeper.norm.reset_running_stats()
    assert state(keeper) == before


def test_scores_change_nothing() -> None:
    keeper = Keeper().train()
    x = torch.rand(2, 2, 4, 4)
    before = state(keeper)
    evidence = Evidence(keeper, lambda: [x, x], lambda model, batch: model(batch).square().mean())
    weights = {'layer.weight': prunable_weights(keeper)['layer.weight']}
    first, second = (evidence.gradients(weights) for _ in range(2))
    assert torch.equal(first['layer.weight'], second['layer.weight'])
    assert state(keeper) == before
