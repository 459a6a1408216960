"""The demo runs from data to pictures, and a second call trains nothing anew."""

import signal
import subprocess
import sys
import time
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


def is_alive(pid: int) -> bool:
    try:
        return bool(Path(f'/proc/{pid}/cmdline').read_bytes())  # empty where it only waits for init
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != 'linux', reason='looks into /proc')
@pytest.mark.parametrize('stop', [signal.SIGTERM, signal.SIGINT], ids=['SIGTERM', 'Ctrl-C'])
def test_stopping_it_stops_what_it_has_started(stop, tmp_path: Path) -> None:
    log = tmp_path / 'log.txt'
    code = DRIVER.format(folder=str(DEMO.parent), child=CHILD, log=str(log))
    process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
    pid = next(int(line) for line in process.stdout if line.strip().isdecimal())
    assert log.read_text().strip() == str(pid)  # the log is written line by line
    assert is_alive(pid)
    process.send_signal(stop)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert 'stopped; the same command goes on' in output
    for _ in range(50):
        if not is_alive(pid):
            break
        time.sleep(0.1)
    assert not is_alive(pid)
