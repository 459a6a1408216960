"""Recalibration: plain averages over the batches, and nothing else changed."""

import copy

import pytest
import torch
from torch import nn

from st_mm.calibration import recalibrate
from st_mm.models import AtomicBlock
from st_mm.search import shrink


def run(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    return model(batch)


def batches(number: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [3 * torch.randn(4, 4, 6, 6, generator=generator) + i for i in range(number)]


def statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    return {n: b.clone() for n, b in model.named_buffers()}


def averages(inputs: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean over batches of each batch's mean and unbiased variance."""
    means = torch.stack([x.mean((0, 2, 3)) for x in inputs]).mean(0)
    variances = torch.stack([x.transpose(0, 1).flatten(1).var(1) for x in inputs]).mean(0)
    return means, variances


@pytest.mark.parametrize('number', [1, 2, 7])
@pytest.mark.parametrize('momentum', [0.1, 0.01, None])
def test_plain_average(number, momentum) -> None:
    norm = nn.BatchNorm2d(4, momentum=momentum)
    nn.init.uniform_(norm.running_mean, 100, 200)
    data = batches(number)
    assert recalibrate([norm], iter(data), run) == number
    mean, variance = averages(data)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    assert norm.momentum == momentum


def test_deeper_norms_see_batch_statistics() -> None:
    """A norm is calibrated on what training would feed it, norms before it included."""
    model = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3))
    nn.init.normal_(model[0].weight)
    data = batches(5)
    inputs = []
    for x in data:
        norm = nn.BatchNorm2d(4).train()
        norm.load_state_dict(model[0].state_dict())
        inputs.append(model[2](norm(x).relu()).detach())
    recalibrate([model], data, run)
    mean, variance = averages(inputs)
    torch.testing.assert_close(model[3].running_mean, mean)
    torch.testing.assert_close(model[3].running_var, variance)


def test_everything_else_is_in_eval_mode_and_restored() -> None:
    model = nn.Sequential(nn.BatchNorm2d(4, momentum=0.3), nn.Dropout(0.9), nn.BatchNorm2d(4))
    model.train()
    model[2].eval()
    modes = [m.training for m in model.modules()]
    weights = copy.deepcopy(dict(model.named_parameters()))
    seen = []

    def watch(module, batch):
        seen.append((model[0].training, model[1].training, model[2].training, model.training))
        seen.append(torch.is_grad_enabled())
        return module(batch)

    recalibrate([model], batches(2), watch)
    assert seen == [(True, False, False, False), False] * 2  # of the norms, those that train
    assert [m.training for m in model.modules()] == modes
    assert model[0].momentum == 0.3
    assert model[2].momentum == 0.1
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, weights[name])
        assert parameter.grad is None


@pytest.mark.parametrize('data', [[], iter(())], ids=['list', 'iterator'])
def test_no_batches_change_nothing(data) -> None:
    model = nn.Sequential(nn.BatchNorm2d(4, momentum=0.3)).train()
    nn.init.normal_(model[0].running_mean)
    before = statistics(model)
    assert recalibrate([model], data, run) == 0
    assert all(torch.equal(b, before[n]) for n, b in model.named_buffers())
    assert model[0].training
    assert model[0].momentum == 0.3


def test_several_models_each_by_its_own_weights() -> None:
    models = [AtomicBlock(4, 4, expand_ratio=1) for _ in range(3)]
    models[1].eval()
    alone = copy.deepcopy(models)
    data = batches(3)
    assert recalibrate(models, iter(data), run) == 3
    for each, single in zip(models, alone, strict=True):
        recalibrate([single], data, run)
        for (name, ours), theirs in zip(each.named_buffers(), single.buffers(), strict=True):
            assert torch.equal(ours, theirs), name
    assert [model.training for model in models] == [True, False, True]


def test_twice_is_once() -> None:
    """It starts from nothing, whatever was there."""
    model = AtomicBlock(4, 4, expand_ratio=1)
    recalibrate([model], batches(3), run)
    before = statistics(model)
    recalibrate([model], batches(2, seed=5), run)
    recalibrate([model], batches(3), run)
    assert all(torch.equal(b, before[n]) for n, b in model.named_buffers())


def test_failing_forward_restores_modes_and_momenta() -> None:
    model = nn.Sequential(nn.BatchNorm2d(4, momentum=0.3)).train()

    def fail(module, batch):
        module(batch)
        raise KeyError('mine')

    with pytest.raises(KeyError, match='mine'):
        recalibrate([model], batches(2), fail)
    assert model[0].momentum == 0.3
    assert model[0].training


def test_norms_without_statistics_or_channels() -> None:
    block = AtomicBlock(4, 4, expand_ratio=1)
    shrink(block, {'': torch.ones(12).bool()})
    model = nn.Sequential(block, nn.BatchNorm2d(4, track_running_stats=False), nn.InstanceNorm2d(4))
    assert recalibrate([model], batches(2), run) == 2
    assert torch.isfinite(model.eval()(batches(1)[0])).all()
    assert block.project_bn.running_mean.tolist() == [0] * 4


def test_norm_that_no_batch_reaches_keeps_its_statistics() -> None:
    """As of a head that only some losses or modes use."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
            nn.init.constant_(self.unused.running_mean, 5)
            self.unused.num_batches_tracked.fill_(7)

        def forward(self, x):
            return self.used(x)

    model = Model()
    recalibrate([model], batches(2), run)
    assert model.unused.running_mean.tolist() == [5] * 4
    assert model.unused.num_batches_tracked == 7
    assert model.used.num_batches_tracked == 2
    assert not model.used._forward_pre_hooks
    assert not model.unused._forward_pre_hooks


def test_recalibrated_eval_output_equals_train_output() -> None:
    """On a single batch (but for the unbiased variance), which is what it is for."""
    block = AtomicBlock(4, 4, expand_ratio=1).train()
    (x,) = batches(1)
    with torch.no_grad():
        recalibrate([block], [x], run)
        n = x[:, 0].numel()
        for name, buffer in block.named_buffers():
            if name.endswith('running_var'):
                buffer.mul_((n - 1) / n)
        torch.testing.assert_close(block.eval()(x), block.train()(x), rtol=1e-4, atol=1e-4)
