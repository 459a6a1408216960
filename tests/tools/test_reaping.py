"""The table of reaping: shares rise with the ratio, outputs stay, every runtime is there."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'benchmarks' / 'reaping.py'
TICKET = 'supertickets-p90-slim_32b-36e_toy-shapes-48x48'


def run(*words: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_ticket_and_the_same_pruned_further(tmp_path: Path) -> None:
    path = tmp_path / 'table.md'
    words = ['--size', '48x48', '--ratios', 0.5, 0.98, '--rounds', 2, '--batch-size', 2]
    done = run(TICKET, *words, '--markdown', path)
    assert done.returncode == 0, done.stderr
    rows = [line.split('|')[1:-1] for line in path.read_text().splitlines() if TICKET in line]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert [row[1] for row in cells] == ['90.0%', '98.0%']  # 50 % is what it has already
    empty = [float(row[3].rstrip('%')) for row in cells]
    assert 0 < empty[0] < empty[1] < 100
    for row in cells:
        assert float(row[4]) < 1
        assert all(float(cell) > 0 for cell in row[5:-1] if cell != '-')
        assert float(row[-1]) < 1e-6  # a bias is stored in float32


def test_bad_arguments(tmp_path: Path) -> None:
    done = run(TICKET, '--size', '48x48', '--ratios', 1)
    assert done.returncode == 2
    assert "'1' is not a share between 0 and 1" in done.stderr
