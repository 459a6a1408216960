import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def run(*words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, 'tools/report.py', *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_page_of_a_training(ticket_run: Path, tmp_path: Path) -> None:
    out = tmp_path / 'report.html'
    done = run(ticket_run, '--out', out, '--pictures', 1)
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    for title in ('Cost', 'Training', 'Architecture', 'Density per layer', 'Predictions'):
        assert f'<h2>{title}</h2>' in text, done.stderr
    assert 'structural: after the search' in text


def test_nothing_to_report(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 2
    assert 'has no last_checkpoint' in done.stderr
    assert not list(tmp_path.iterdir())
