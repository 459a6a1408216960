"""Markers that skip with a reason, the toy data, and one trained ticket for the whole session."""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.runner import Runner

import st_mm  # noqa: F401 - the runtime fixes, before any test imports mmseg

# One thread, here and in every program a test starts: the networks are too small for more, two
# workers share the cores, and results are bit-equal only where sums are split alike.
os.environ['OMP_NUM_THREADS'] = '1'
torch.set_num_threads(1)

# A shell that starts the tests by & has them ignore Ctrl-C, and with them all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]
COMPILERS = 'cc', 'gcc', 'clang'
SHARED = Path(os.environ.get('ST_MM_SHARED_DIR', ROOT.parent / 'shared'))
TOY_CONFIG = ROOT / 'configs' / 'toy' / 'supertickets-p90-slim_8b-30e_toy-streets-128x256.py'

# 6 epochs of 2 iterations with every kind of event: search at 2, 4 and 6, prune at 1 to 5
TINY = dict(
    model=dict(
        data_preprocessor=dict(size=(64, 128)),
        backbone=dict(
            stem_channels=(4, 8), stage_channels=((8,), (6, 12)), stage_blocks=((1,), (1, 1))
        ),
        neck=dict(in_channels=(6, 12), out_channels=12),
        decode_head=dict(in_channels=12, channels=12),
    ),
    train_dataloader=dict(batch_size=4, num_workers=0, persistent_workers=False),
    val_dataloader=dict(batch_size=4, num_workers=0, persistent_workers=False),
    test_dataloader=dict(batch_size=4, num_workers=0),
    train_cfg=dict(max_epochs=6, val_interval=3),
    default_hooks=dict(checkpoint=dict(interval=1, max_keep_ckpts=-1), logger=dict(interval=1)),
    log_level='WARNING',
    env_cfg=dict(cudnn_benchmark=False),
)
SEARCH = dict(
    interval=2,
    rho=1e-2,
    warmup=2,
    threshold=0.985,
    min_macs_drop=1,
    input_shape=(3, 64, 128),
    calibration_batches=2,
)
PRUNE = dict(interval=1, step=0.3, end=5, calibration_batches=2)
NO_CHANGE: dict = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    no_data = pytest.mark.skip(reason=f'no {SHARED}; set ST_MM_SHARED_DIR')
    no_gpu = pytest.mark.skip(reason='no CUDA device')
    no_compiler = pytest.mark.skip(reason='no C compiler')
    for item in items:
        if 'data' in item.keywords and not SHARED.is_dir():
            item.add_marker(no_data)
        if 'gpu' in item.keywords and not torch.cuda.is_available():
            item.add_marker(no_gpu)
        if 'compiler' in item.keywords and not any(map(shutil.which, COMPILERS)):
            item.add_marker(no_compiler)


@pytest.fixture(autouse=True)
def _seed() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def toy_streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 + 4 + 4 drawn streets of 64x128 pixels."""
    folder = tmp_path_factory.mktemp('data') / 'toy_streets'
    command = [sys.executable, ROOT / 'tools' / 'make_toy_data.py', 'streets', folder]
    counts = ['--train', '8', '--val', '4', '--test', '4', '--size', '64x128']
    subprocess.run([*command, *counts], check=True, capture_output=True)
    return folder


@pytest.fixture(scope='session')
def tiny_config(toy_streets: Path) -> Callable[..., Config]:
    """Configs of the toy recipe, cut down to seconds: ``tiny_config(work_dir, **changes)``.

    ``ema``, ``search``, ``prune`` and ``reactivate`` change that hook, or drop it where None.

    Nothing in the pipeline is random, since mmengine does not restore the random state of a
    resumed run.
    """

    def build(
        work_dir: Path,
        ema: dict | None = NO_CHANGE,
        search: dict | None = NO_CHANGE,
        prune: dict | None = NO_CHANGE,
        reactivate: dict | None = NO_CHANGE,
        **changes: object,
    ) -> Config:
        config = Config.fromfile(TOY_CONFIG)
        defaults = zip(config.custom_hooks, ({}, SEARCH, PRUNE, {}), strict=True)
        asked = (ema, search, prune, reactivate)
        config.custom_hooks = [
            {**hook, **default, **change}
            for (hook, default), change in zip(defaults, asked, strict=True)
            if change is not None
        ]
        config.merge_from_dict(TINY)
        config.param_scheduler[0].total_steps = config.train_cfg.max_epochs
        for split in ('train', 'val', 'test'):
            dataset = config[f'{split}_dataloader'].dataset
            dataset.data_root = f'{toy_streets}/'
            dataset.pipeline = config.test_pipeline
        config.merge_from_dict(changes)
        config.work_dir = str(work_dir)
        config.visualizer.name = config.experiment_name = f'{work_dir.parent.name}-{work_dir.name}'
        return config

    return build


@pytest.fixture(scope='session')
def ticket_run(
    tiny_config: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Work dir of a finished run: ``epoch_1.pth`` to ``epoch_6.pth`` and ``config.py``."""
    work_dir = tmp_path_factory.mktemp('ticket') / 'run'
    config = tiny_config(work_dir, log_level='INFO')
    Runner.from_cfg(config).train()
    config.dump(work_dir / 'config.py')
    return work_dir
