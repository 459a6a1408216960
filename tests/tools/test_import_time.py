"""The benchmark of the import: both ratios are there, and ours adds little to a Runner."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / 'tools' / 'benchmarks' / 'import_time.py'


@pytest.mark.slow
def test_ratios(tmp_path):
    file = tmp_path / 'import.json'
    subprocess.run([sys.executable, TOOL, '--rounds', '1', '--json', file], check=True, timeout=300)
    alone, runner = json.loads(file.read_text())
    assert (alone['base'], runner['base']) == ('mmseg', 'mmseg and a Runner')
    assert 1 < runner['ratio'] < 1.5  # 1.09 where nothing else runs
    assert runner['ratio'] < alone['ratio']
