"""Tools of the developers keep a file that is there, unless they are told to replace it."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / 'tools'


@pytest.mark.slow
@pytest.mark.parametrize(
    'command',
    [
        ['benchmarks/import_time.py', '--json'],
        ['benchmarks/train_step.py', '--json'],
        ['analysis/walk_registries.py'],
    ],
)
def test_a_file_stays(tmp_path: Path, command: list[str]) -> None:
    file = tmp_path / 'kept.json'
    file.write_text('kept')
    tool, *options = command
    done = subprocess.run(
        [sys.executable, TOOLS / tool, *options, file], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert f'{file} is there already' in done.stderr
    assert file.read_text() == 'kept'
