"""A ticket loads through every unmodified path of mmengine and mmseg, bit for bit."""

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mmseg
import pytest
import torch
from mmengine import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS
from torch import nn

from st_mm.search import shrink
from st_mm.ticket import KEY, Ticket, load_checkpoint
from st_mm.units import find_owners
from st_mm.units.loading import take_widths

TOOLS = Path(mmseg.__file__).parent / '.mim' / 'tools'


def _build(config: Config) -> nn.Module:
    init_default_scope('mmseg')
    return MODELS.build(config.model).eval()


@torch.no_grad()
def _logits(model: nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    picture = torch.randn(2, 3, 64, 128, generator=generator)
    return model.eval()(picture, mode='tensor')


@pytest.fixture(scope='module', params=['trained', 'hollow'])
def ticket(request, ticket_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained ticket, and one with a branch and another block that have lost all units."""
    trained = ticket_run / 'epoch_6.pth'
    if request.param == 'trained':
        return trained
    checkpoint = load_checkpoint(trained)
    model = _build(Config.fromfile(ticket_run / 'config.py'))
    take_widths(model, checkpoint['state_dict'], '')
    model.load_state_dict(checkpoint['state_dict'])
    dead = {
        name: torch.ones_like(owner.unit_bn.weight, dtype=torch.bool)
        for name, owner in find_owners(model).items()
        if name.startswith('backbone.stages.1.branches.1') or name == 'neck.block'
    }
    assert len(dead) == 2
    record = Ticket.from_meta(checkpoint['meta'])
    shrink(model, dead)
    record.remove(dead)
    record.masks = {}
    path = tmp_path_factory.mktemp('hollow') / 'hollow.pth'
    meta = {**checkpoint['meta'], KEY: record.to_meta()}
    torch.save(dict(meta=meta, state_dict=model.state_dict()), path)
    return path


@pytest.fixture(scope='module')
def config(ticket_run: Path) -> Config:
    return Config.fromfile(ticket_run / 'config.py')


@pytest.fixture(scope='module')
def expected(ticket: Path, config: Config) -> torch.Tensor:
    """Logits of plain torch loading."""
    model = _build(config)
    model.load_state_dict(load_checkpoint(ticket)['state_dict'], strict=True)
    return _logits(model)


def test_the_ticket_is_smaller_and_sparse(ticket: Path, config: Config) -> None:
    full = _build(config).state_dict()
    state = load_checkpoint(ticket)['state_dict']
    assert state.keys() == full.keys()
    assert sum(t.numel() for t in state.values()) < sum(t.numel() for t in full.values())
    assert all(isinstance(tensor, torch.Tensor) for tensor in state.values())


def test_init_model(ticket: Path, config: Config, expected: torch.Tensor) -> None:
    assert torch.equal(_logits(init_model(config, str(ticket), device='cpu')), expected)


def test_inference_model(ticket: Path, config: Config, toy_streets: Path) -> None:
    picture = next((toy_streets / 'leftImg8bit' / 'test').rglob('*.png'))
    model = init_model(config, str(ticket), device='cpu')
    plain = _build(config)
    plain.load_state_dict(load_checkpoint(ticket)['state_dict'])
    plain.cfg = config
    ours, theirs = inference_model(model, str(picture)), inference_model(plain, str(picture))
    assert torch.equal(ours.seg_logits.data, theirs.seg_logits.data)


def test_load_from(ticket: Path, tiny_config: Callable, expected, tmp_path: Path) -> None:
    config = tiny_config(tmp_path / 'run', search=None, prune=None, reactivate=None, ema=None)
    runner = Runner.from_cfg(config)
    runner.load_checkpoint(str(ticket))
    assert torch.equal(_logits(runner.model), expected)


@pytest.mark.parametrize('resume', [False, True])
def test_training_without_our_hooks(
    ticket_run: Path, tiny_config: Callable, tmp_path: Path, resume: bool
) -> None:
    """Plain training of a searched ticket, with EMA: the shapes come with the checkpoint."""
    config = tiny_config(tmp_path / 'run', search=None, prune=None, reactivate=None)
    ticket = load_checkpoint(ticket_run / 'epoch_6.pth')
    if resume:  # a pruned one would lose its masks, which is refused where our hooks see it
        ticket['meta'].pop(KEY)
    torch.save(ticket, tmp_path / 'ticket.pth')
    config.load_from, config.resume = str(tmp_path / 'ticket.pth'), resume
    config.train_cfg.max_epochs = 7 if resume else 1
    config.param_scheduler = [dict(type='ConstantLR', factor=1.0)]
    Runner.from_cfg(config).train()
    trained = load_checkpoint(tmp_path / 'run' / f'epoch_{config.train_cfg.max_epochs}.pth')
    for name, tensor in trained['state_dict'].items():
        assert tensor.shape == ticket['state_dict'][name].shape, name
    weight = 'decode_head.conv_seg.weight'
    assert not torch.equal(trained['state_dict'][weight], ticket['state_dict'][weight])


def test_pretrained(ticket: Path, config: Config, expected: torch.Tensor) -> None:
    model = _build(config)
    model.init_cfg = dict(type='Pretrained', checkpoint=str(ticket))
    model.init_weights()
    assert torch.equal(_logits(model), expected)


def test_pretrained_backbone(ticket: Path, config: Config) -> None:
    model = _build(config)
    init_cfg = dict(type='Pretrained', checkpoint=str(ticket), prefix='backbone.')
    model.backbone.init_cfg = init_cfg
    model.init_weights()
    saved = load_checkpoint(ticket)['state_dict']
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, saved[f'backbone.{name}']), name


def test_resume_at_the_end(ticket: Path, tiny_config: Callable, tmp_path: Path) -> None:
    saved = load_checkpoint(ticket)
    if 'ema_state_dict' not in saved:
        pytest.skip('a file without optimizer and EMA is not made for resuming')
    config = tiny_config(tmp_path / 'run')
    config.load_from, config.resume = str(ticket), True
    runner = Runner.from_cfg(config)
    runner.train()
    ema = next(hook.ema_model for hook in runner.hooks if hasattr(hook, 'ema_model'))
    for name, tensor in saved['state_dict'].items():
        assert torch.equal(ema.module.state_dict()[name], tensor), name


@pytest.mark.slow
def test_published(ticket: Path, config: Config, expected, tmp_path: Path) -> None:
    """mmseg's own script, which never imports st_mm."""
    out = tmp_path / 'published.pth'
    script = TOOLS / 'misc' / 'publish_model.py'
    subprocess.run([sys.executable, script, ticket, out], check=True, capture_output=True)
    [published] = tmp_path.glob('published*.pth')
    assert 'optimizer' not in load_checkpoint(published)
    assert torch.equal(_logits(init_model(config, str(published), device='cpu')), expected)


@pytest.mark.slow
def test_mim_test(ticket: Path, ticket_run: Path, tiny_config: Callable, tmp_path: Path) -> None:
    """The score of the command line is that of a model loaded by plain torch."""
    command = [sys.executable, '-m', 'mim', 'test', 'mmseg', ticket_run / 'config.py']
    command += ['--checkpoint', ticket, '--work-dir', tmp_path / 'mim']
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    config = tiny_config(tmp_path / 'run', search=None, prune=None, reactivate=None, ema=None)
    runner = Runner.from_cfg(config)
    state = load_checkpoint(ticket)['state_dict']
    runner.model.load_state_dict(state)
    metrics = runner.test()
    assert f'mIoU: {metrics["mIoU"]:.4f}' in result.stdout + result.stderr


def test_another_architecture_is_refused(ticket: Path, config: Config) -> None:
    other = copy.deepcopy(config)
    other.model.backbone.stage_channels = ((8,), (6, 10))
    other.model.neck.in_channels = (6, 10)
    with pytest.raises(RuntimeError, match=r"tensor 'backbone\.stages\.1\S+' has shape"):
        init_model(other, str(ticket), device='cpu')


def test_another_head_is_refused_in_a_test(ticket: Path, tiny_config: Callable, tmp_path) -> None:
    """mmengine would warn and report the score of a random classifier."""
    config = tiny_config(tmp_path / 'run')
    config.model.decode_head.num_classes = 11
    config.load_from = str(ticket)
    runner = Runner.from_cfg(config)
    with pytest.raises(RuntimeError, match=r"'decode_head\.conv_seg\.weight' has shape"):
        runner.test()
