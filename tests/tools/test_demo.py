"""The demo runs from data to pictures, and a second call trains nothing anew."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEMO = ROOT / 'tools' / 'demo.py'


@pytest.mark.slow
def test_demo(tmp_path: Path) -> None:
    command = [sys.executable, DEMO, '--work-dir', tmp_path / 'demo', '--epochs', '2']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert 'prune at epoch 1 to a ratio of 0.9' in done.stdout
    assert 'density 0.1000' in done.stdout
    assert 'test mIoU' in done.stdout
    for name in ('epoch_2.pth', 'training.png', 'predictions.png', 'ticket.json'):
        assert (tmp_path / 'demo' / name).stat().st_size > 1000, name

    trained = (tmp_path / 'demo' / 'epoch_2.pth').read_bytes()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout[-3000:] + again.stderr[-3000:]
    assert 'prune at' not in again.stdout
    assert (tmp_path / 'demo' / 'epoch_2.pth').read_bytes() == trained


def test_too_few_epochs() -> None:
    done = subprocess.run([sys.executable, DEMO, '--epochs', '1'], capture_output=True, text=True)
    assert done.returncode == 2
    assert '--epochs must be at least 2' in done.stderr
