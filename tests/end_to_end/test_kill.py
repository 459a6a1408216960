"""A training killed at any moment, in the middle of a save too, goes on and ends at its target."""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine import Config

from st_mm.ticket import load_checkpoint

TRAIN = """
import sys
import st_mm
from mmengine import Config
from mmengine.runner import Runner
Runner.from_cfg(Config.fromfile(sys.argv[1])).train()
"""


def _kill_while_saving(process: subprocess.Popen, work_dir: Path) -> None:
    """Kill as soon as a checkpoint is being written."""
    while process.poll() is None and not list(work_dir.glob('.*.part')):
        time.sleep(0.0005)
    process.kill()


def _kill_later(process: subprocess.Popen, work_dir: Path, seconds: float) -> None:
    """Kill some time after the training has begun to log."""
    known = len(list(work_dir.glob('*/vis_data/scalars.json')))
    while process.poll() is None:
        if len(list(work_dir.glob('*/vis_data/scalars.json'))) > known:
            time.sleep(seconds)
            break
        time.sleep(0.01)
    process.kill()


@pytest.mark.slow
def test_killed_training(tiny_config: Callable[..., Config], tmp_path: Path) -> None:
    work_dir = tmp_path / 'run'
    work_dir.mkdir()
    config = tiny_config(work_dir, resume=True, train_cfg=dict(max_epochs=12))
    config.custom_hooks[2].end = 10
    config.param_scheduler[0].total_steps = 12
    config.dump(tmp_path / 'config.py')
    command = [sys.executable, '-c', TRAIN, tmp_path / 'config.py']
    moments = random.Random(0)
    kills = 0
    for attempt in range(20):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if attempt in (0, 2):
            _kill_while_saving(process, work_dir)
        elif attempt < 5:
            _kill_later(process, work_dir, moments.uniform(0, 1))
        errors = process.communicate()[1].decode()
        if process.returncode == 0:
            break
        assert process.returncode == -9, errors[-2000:]
        kills += 1
        for checkpoint in work_dir.glob('*.pth'):
            assert load_checkpoint(checkpoint)['state_dict'], checkpoint.name
    assert process.returncode == 0
    assert kills >= 2
    saved = load_checkpoint(work_dir / 'epoch_12.pth')
    names = saved['meta']['ticket']['masks']
    for weights in ('state_dict', 'ema_state_dict'):
        state = {name.removeprefix('module.'): w for name, w in saved[weights].items()}
        zeros = sum(int((state[name] == 0).sum()) for name in names)
        total = sum(state[name].numel() for name in names)
        assert 1 - zeros / total == pytest.approx(0.1, abs=1e-3)
    assert (work_dir / 'last_checkpoint').read_text().endswith('epoch_12.pth')
    assert not list(work_dir.glob('.*.part'))
