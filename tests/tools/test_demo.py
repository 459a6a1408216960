"""The demo runs from data to pictures, and a second call trains nothing anew."""

import importlib.util
import ntpath
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
DEMO = ROOT / 'tools' / 'demo.py'


@pytest.mark.slow
def test_demo(tmp_path: Path) -> None:
    command = [sys.executable, DEMO, '--work-dir', tmp_path / 'demo', '--epochs', '2']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert 'prune at epoch 1 to a ratio of 0.9' in done.stdout
    assert re.search(r'\b50/50\b', done.stdout)  # the bar of the training: 2 epochs of 25
    assert 'density 0.1000' in done.stdout
    assert 'test mIoU' in done.stdout
    assert re.search(r'commonest class everywhere\W+\d\.\d\d', done.stdout)
    assert re.search(r'dense supernet, as shipped\W+41\.12', done.stdout)
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


def demo_module():
    spec = importlib.util.spec_from_file_location('demo', DEMO)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_file_on_another_drive_of_windows_is_named_in_full(monkeypatch) -> None:
    demo = demo_module()
    monkeypatch.setattr(demo, 'os', SimpleNamespace(path=ntpath, sep=ntpath.sep))
    assert demo._short('D:\\demo\\training.png') == 'D:\\demo\\training.png'
    assert demo._short(ntpath.abspath('demo\\training.png')) == 'demo\\training.png'


def test_a_score_by_chance(tmp_path: Path) -> None:
    """As mmseg counts it: a class that is neither there nor predicted has no IoU."""
    rows = {'a': [[0, 0, 0, 0], [0, 0, 255, 255]], 'b': [[1, 1, 3, 0], [255, 0, 0, 0]]}
    for name, labels in rows.items():
        path = tmp_path / 'town' / f'{name}_gtFine_labelTrainIds.png'
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.array(labels, dtype=np.uint8)).save(path)
    # 10 of 13 pixels are class 0, and classes 1 and 3 are never found
    assert demo_module().chance(tmp_path) == pytest.approx(100 * 10 / 13 / 3)


def test_shipped_figures() -> None:
    """Those of the page of the toy recipes."""
    demo = demo_module()
    page = (ROOT / 'configs/toy/README.md').read_text(encoding='utf-8')
    [row] = [line for line in page.splitlines() if f'({demo.DENSE}.py)' in line]
    assert row.endswith(f'| {demo.shipped(demo.DENSE, "mIoU (ours)"):.2f} |')
    page = (ROOT / 'configs/ablations/README.md').read_text(encoding='utf-8')
    assert f'| S+P, magnitude | {demo.SEARCH_THEN_PRUNE} | 0.1000 |' in page


CHILD = """
import subprocess, sys, time
sleeper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
print(sleeper.pid, flush=True)
time.sleep(60)
"""
DRIVER = """
import sys
sys.path.insert(0, {folder!r})
import demo
def run():
    for line in demo.run([sys.executable, '-c', {child!r}], {log!r}):
        print(line, flush=True)
demo.demo = run
sys.exit(demo.main())
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='looks into /proc')
@pytest.mark.parametrize('stop', [signal.SIGTERM, signal.SIGINT], ids=['SIGTERM', 'Ctrl-C'])
def test_stopping_it_stops_what_it_has_started(
    stop: signal.Signals, gone: Callable[[int], bool], tmp_path: Path
) -> None:
    log = tmp_path / 'log.txt'
    code = DRIVER.format(folder=str(DEMO.parent), child=CHILD, log=str(log))
    process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
    pid = next(int(line) for line in process.stdout if line.strip().isdecimal())
    assert log.read_text().strip() == str(pid)  # the log is written line by line
    assert not gone(pid)
    process.send_signal(stop)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert 'stopped; the same command goes on' in output
    for _ in range(50):
        if gone(pid):
            break
        time.sleep(0.1)
    assert gone(pid)
