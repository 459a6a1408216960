"""The benchmark of the training step: all figures are there, the unfused arm is the same model."""

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

from st_mm.models import AtomicBlock, HRSupernet
from st_mm.prune import lowest, magnitude, prunable_weights
from st_mm.search import shrink
from st_mm.units import find_owners

BENCHMARKS = Path(__file__).parents[2] / 'tools' / 'benchmarks'
MEASURES = [
    'hooks',
    'learning',
    'learning',
    'learning',
    'searched',
    'searched',
    'shrink',
    'memory',
    'fusion',
]
SMALL = dict(stem_channels=(4, 8), stage_channels=((8,), (6, 12)), stage_blocks=((1,), (1, 1)))


@pytest.fixture
def unfuse(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from unfused import unfuse

    return unfuse


def randomize(model: nn.Module) -> None:
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias)
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 1.5)


def mask(model: nn.Module) -> dict[str, torch.Tensor]:
    """Put half of the weights to zero; gives the masks."""
    weights = prunable_weights(model)
    masks = lowest(magnitude(weights), 0.5)
    for name, keep in masks.items():
        weights[name].data.mul_(keep)
    return masks


@pytest.mark.parametrize('training', [False, True], ids=['eval', 'train'])
@pytest.mark.parametrize('share', [0, 0.5, 0.9])
@pytest.mark.parametrize(
    'kwargs', [dict(stride=1), dict(out_channels=9), dict(stride=2), dict(tokens=2)], ids=str
)
def test_unfused_block_is_the_same_function(unfuse, training, share, kwargs) -> None:
    block = AtomicBlock(6, **{'out_channels': 6, **kwargs}).train(training)
    randomize(block)
    dead = {
        name: torch.rand(owner.unit_bn.num_features) < share
        for name, owner in find_owners(block).items()
    }
    shrink(block, dead)
    mask(block)
    if 'tokens' in kwargs:
        block.shortcut.eval()  # its dropout draws anew in every call
    x = torch.randn(2, 6, 10, 12)
    naive = unfuse(deepcopy(block))
    assert not any(isinstance(module, AtomicBlock) for module in naive.modules())
    torch.testing.assert_close(naive(x), block(x), rtol=1e-5, atol=1e-5)


def test_unfused_masks_hold_against_the_optimizer(unfuse) -> None:
    block = AtomicBlock(4, 4)
    masks = mask(block)
    naive = unfuse(block)
    optimizer = torch.optim.SGD(naive.parameters(), lr=0.1)
    naive(torch.randn(2, 4, 8, 8)).square().sum().backward()
    optimizer.step()
    expand = torch.cat([path[0].weight for path in naive.paths])
    gradient = torch.cat([path[0].weight.grad for path in naive.paths])
    masked = ~masks['expand.weight']
    assert masked.any()
    assert not expand[masked].any()
    assert not gradient[masked].any()
    assert gradient[~masked].any()


def test_unfused_supernet_in_either_layout(unfuse) -> None:
    model = HRSupernet(**SMALL, channels_last=True).eval()
    model.init_weights()
    randomize(model)
    naive = unfuse(deepcopy(model))
    naive.channels_last = False
    x = torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        for ours, theirs in zip(model(x), naive(x), strict=True):
            scale = ours.abs().max().item()
            torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5 * scale)


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, BENCHMARKS / 'train_step.py', *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


@pytest.mark.slow
def test_every_figure_is_there(tmp_path) -> None:
    path = tmp_path / 'step.json'
    tiny = ['--rounds', 1, '--size', '32x64', '--batch-size', 2, '--device', 'cpu']
    done = run(*tiny, '--json', path)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(path.read_text())
    assert [row['measure'] for row in figures['rows']] == MEASURES
    for row in figures['rows']:
        assert row['value'] > 0
        assert row['target'] > 0
        assert row['name'] in done.stdout
    assert figures['conditions']['size'] == [32, 64]
    assert figures['conditions']['batch_size'] == 2


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--size', '32'], "'32' is not HEIGHTxWIDTH"),
        (['--rounds', '0'], "'0' is not a whole number"),
        (['--batch-size', '-1'], "'-1' is not a whole number"),
        (['--config', 'nowhere.py'], 'there is no file nowhere.py'),
        (['--only', 'speed'], 'speed'),
    ],
    ids=str,
)
def test_bad_arguments(arguments, message) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert 'Traceback' not in done.stderr
