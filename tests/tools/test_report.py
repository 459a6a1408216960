import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def run(*words: object, tool: str = 'tools/report.py') -> subprocess.CompletedProcess:
    command = [sys.executable, tool, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_page_of_a_training(ticket_run: Path, tmp_path: Path) -> None:
    work_dir = tmp_path / 'run'
    shutil.copytree(ticket_run, work_dir)
    latency = ['--size', '64x128', '--runtimes', 'eager', '--rounds', 2]
    timed = run(
        work_dir / 'epoch_6.pth', *latency, '--json', work_dir / 'latency.json',
        tool='tools/benchmarks/latency.py',
    )  # fmt: skip
    assert timed.returncode == 0, timed.stderr
    done = run(work_dir, '--pictures', 1)
    assert done.returncode == 0, done.stderr
    text = (work_dir / 'report.html').read_text()
    titles = [
        'Cost',
        'Training',
        'Architecture',
        'Survival of units',
        'Density per layer',
        'Predictions',
        'Latency',
        'MACs per layer',
    ]
    assert re.findall('<h2>(.*?)</h2>', text) == titles, done.stderr
    assert 'structural: after the search' in text
    assert 'Process time over that of supernet in eager, 64x128' in text
    # nothing is fetched
    assert not re.search(r'(src|href)="(?!data:image/png;base64,)|url\(|@import|<script', text)
    assert '://' not in re.sub(r'base64,[^"]*', '', text)


def test_nothing_to_report(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 2
    assert 'has no last_checkpoint' in done.stderr
    assert not list(tmp_path.iterdir())


def test_another_file_for_latencies(ticket_run: Path, tmp_path: Path) -> None:
    out = tmp_path / 'report.html'
    done = run(ticket_run, '--out', out, '--latency', ticket_run / 'config.py')
    assert done.returncode == 2
    assert 'config.py does not hold the figures of latency.py' in done.stderr
    assert not out.exists()
