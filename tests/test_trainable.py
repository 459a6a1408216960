"""What may change: parameters that train, norms that adapt, units that can go."""

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmpretrain.registry import MODELS
from torch import nn

from st_mm.calibration import recalibrate
from st_mm.trainable import adapting_norms, optimized, training_names, trains, unit_parameters


def body() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())


def test_a_parameter_trains_where_an_optimizer_moves_it() -> None:
    ours, theirs = nn.Linear(2, 2), nn.Linear(2, 2)
    assert trains(ours.weight)
    moved = optimized([torch.optim.SGD(ours.parameters(), lr=0.1)])
    assert trains(ours.weight, moved)
    assert not trains(theirs.weight, moved)
    ours.weight.requires_grad_(False)
    assert not trains(ours.weight, moved)
    groups = dict(ours=[ours.weight, ours.bias], bias=[ours.bias], theirs=[theirs.weight])
    assert training_names(groups, moved) == {'bias'}


def test_a_rate_of_zero_beside_others_does_not_train() -> None:
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    groups = [dict(params=one.parameters(), lr=0.0), dict(params=other.parameters(), lr=0.1)]
    optimizer = torch.optim.SGD(groups)
    assert optimized([optimizer]) == {id(p) for p in other.parameters()}
    for group in optimizer.param_groups:  # a warmup that starts at 0
        group['initial_lr'], group['lr'] = 0.1, 0.0
    assert len(optimized([optimizer])) == 4


class Taught(nn.Module):
    """A student, a teacher that runs in train mode, and a norm that a user froze."""

    def __init__(self) -> None:
        super().__init__()
        self.student, self.teacher, self.stem = body(), body(), body()
        self.teacher.requires_grad_(False)

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        self.stem[1].eval()
        return self

    def forward(self, x):
        return self.student(x) + self.teacher(x) + self.stem(x)


@pytest.mark.parametrize('training', [True, False])
def test_only_norms_that_training_adapts_are_recalibrated(training) -> None:
    model = Taught().train(training)
    assert adapting_norms(model) == {'student.1'}
    assert [m.training for m in model.modules()] == [
        m.training for m in model.train(training).modules()
    ]
    before = {name: b.clone() for name, b in model.named_buffers()}
    recalibrate([model], [torch.randn(2, 3, 8, 8)], lambda m, x: m(x))
    changed = {name for name, b in model.named_buffers() if not torch.equal(b, before[name])}
    assert changed == {
        f'student.1.{n}' for n in ('running_mean', 'running_var', 'num_batches_tracked')
    }


def test_a_norm_that_a_hook_puts_into_eval_mode_keeps_its_statistics() -> None:
    model = nn.ModuleDict(dict(a=body(), b=body()))
    model.a[1].eval()
    assert adapting_norms(model) == {'b.1'}


def test_a_scale_that_is_frozen_in_a_block_that_trains_adapts() -> None:
    model = body()
    model[1].requires_grad_(False)
    assert adapting_norms(model) == {'1'}


@pytest.mark.parametrize(
    ('arguments', 'left'), [(dict(norm_eval=True), 0), (dict(frozen_stages=1), 9)]
)
def test_norms_of_frozen_backbones(arguments, left) -> None:
    backbone = MODELS.build(dict(type='mmpretrain.ResNet', depth=18, base_channels=4, **arguments))
    adapting = adapting_norms(backbone)
    if left:
        assert adapting
        assert not any(name.startswith(('bn1', 'layer1')) for name in adapting)
    else:
        assert not adapting


@pytest.mark.parametrize('rest', [[], [nn.Linear(2, 2)]], ids=['alone', 'with a neck'])
def test_units_that_a_momentum_encoder_repeats_or_others_share_stay(rest) -> None:
    small = MODELS.build(dict(type='mmpretrain.MobileNetV2', widen_factor=0.25))
    large = MODELS.build(dict(type='mmpretrain.MobileNetV2', widen_factor=0.5))
    model = nn.ModuleDict(dict(a=small, b=large))
    assert {name[0] for name in unit_parameters(model)} == {'a', 'b'}
    together = nn.Sequential(large, *rest) if rest else large  # as MoCo puts them together
    model['momentum'] = ExponentialMovingAverage(together)
    assert {name[0] for name in unit_parameters(model)} == {'a'}
    model['tied'] = nn.Conv2d(1, 1, 1)
    model.tied.weight = small.layer2[0].conv[0].conv.weight
    names = unit_parameters(model)
    assert 'a.layer2.0' not in names
    assert 'a.layer2.1' in names
