"""On real pictures of three tasks a ticket scores the same in PyTorch, ONNX and the engine."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

import pytest
from mmengine import Config
from mmengine.runner import Runner

pytestmark = [pytest.mark.slow, pytest.mark.data]

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get('ST_MM_SHARED_DIR', ROOT.parent / 'shared'))
TOOL = ROOT / 'tools' / 'deploy' / 'score.py'
BACKBONE = dict(
    stem_channels=(4, 8),
    stage_channels=((8,), (6, 12), (6, 12)),
    stage_blocks=((1,), (1, 1), (1, 1)),
)
COMPILER = any(map(shutil.which, ('cc', 'gcc', 'clang')))


class Case(NamedTuple):
    """A data set, its recipe made small, and the score with its range."""

    config: str
    archive: str
    metric: str
    most: float
    changes: dict


CASES = {
    'CamVid': Case(
        'camvid/supertickets-p90-slim_8b-40e_camvid-192x256.py',
        'camvid_320x240.tar.gz',
        'mIoU',
        100,
        dict(
            neck=dict(in_channels=(6, 12), out_channels=12),
            decode_head=dict(in_channels=12, channels=12),
        ),
    ),
    'Tiny-ImageNet': Case(
        'tiny_imagenet/supertickets-p90-slim_64b-13e_tiny-imagenet-48x48.py',
        'tiny_imagenet_20.tar.gz',
        'accuracy/top1',
        100,
        dict(
            neck=dict(in_channels=(6, 12), head_channels=(12, 16), out_channels=24),
            head=dict(in_channels=24),
        ),
    ),
    'LSPET': Case(
        'lspet/supertickets-p90-slim_16b-14e_lspet-coco17-96x96.py',
        'lspet_mini.tar.gz',
        'PCK',
        1,
        dict(neck=dict(in_channels=(6, 12), out_channels=12), head=dict(in_channels=12)),
    ),
}


@pytest.fixture(scope='module', params=CASES)
def ticket(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """A small ticket of 10 %, trained for four short epochs on real pictures, and its case."""
    case = CASES[request.param]
    folder = tmp_path_factory.mktemp('real')
    with tarfile.open(SHARED / 'data' / case.archive) as archive:
        archive.extractall(folder, filter='data')
    [data] = folder.iterdir()
    config = Config.fromfile(ROOT / 'configs' / case.config)
    old = config.data_root
    config = Config.fromstring(config.pretty_text.replace(old, f'{data}/'), '.py')
    config.merge_from_dict(dict(model=dict(backbone=BACKBONE, **case.changes)))
    config.train_dataloader.update(batch_size=16, num_workers=0, persistent_workers=False)
    config.train_dataloader.dataset.indices = 16 * 12
    config.train_cfg.update(max_epochs=4, val_interval=9)
    config.param_scheduler = []
    config.optim_wrapper.optimizer.lr = 5e-3
    ema = next(hook for hook in config.custom_hooks if hook.type == 'EMAHook')
    prune = dict(type='ProgressivePruneHook', ratio=0.9, step=0.3, interval=1, end=3)
    config.custom_hooks = [ema, dict(prune, calibration_batches=4)]
    config.default_hooks.checkpoint = dict(type='CheckpointHook', interval=4)
    config.work_dir = str(folder / 'work_dir')
    config.visualizer.name = config.experiment_name = f'real-{request.param}'
    config.log_level = 'WARNING'
    Runner.from_cfg(config).train()
    return case, folder / 'work_dir' / 'epoch_4.pth'


def test_scores_are_the_same(ticket: tuple[Case, Path]) -> None:
    case, checkpoint = ticket
    done = subprocess.run(
        [sys.executable, TOOL, checkpoint, '--split', 'val'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    columns = ['PyTorch', 'ONNX Runtime', *['engine'] * COMPILER]
    assert re.search(r'\s+'.join(columns), done.stdout), done.stdout
    _, _, table = done.stdout.partition(', val pictures')  # metrics print much before it
    rows = re.findall(r'^ *(\S.*?) +((?:-?\d+\.\d+(?:e[+-]\d+)? *)+)$', table, re.MULTILINE)
    scores = {name: [float(value) for value in values.split()] for name, values in rows}
    assert max(scores.pop('largest error of outputs')) <= 1e-4
    for name, (eager, *others) in scores.items():
        assert len(others) == len(columns) - 1
        for other in others:
            scale = 100 / case.most if name == case.metric else 1
            assert abs(other - eager) * scale < 0.01, done.stdout
    assert case.metric in scores


def test_data_that_are_not_there(ticket: tuple[Case, Path], tmp_path: Path) -> None:
    _, checkpoint = ticket
    words = ['--cfg-options', f'test_dataloader.dataset.data_root={tmp_path}/nowhere']
    done = subprocess.run(
        [sys.executable, TOOL, checkpoint, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith('error: ')
    assert 'nowhere' in done.stderr
    assert 'Traceback' not in done.stderr
