"""The short form of the fuzzer; ``make fuzz`` runs the long one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_damaged_files_and_configs_and_kills() -> None:
    counts = ['--checkpoints', '40', '--configs', '100', '--kills', '3']
    run = Path(__file__).with_name('run.py')
    done = subprocess.run([sys.executable, run, *counts], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert sum(found['checkpoints'].values()) == 40
    assert found['checkpoints'].get('refused', 0) > 10
