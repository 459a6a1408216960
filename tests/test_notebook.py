"""docs/quickstart.ipynb runs from top to bottom, in its short form."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = json.loads((ROOT / 'docs' / 'quickstart.ipynb').read_text(encoding='utf-8'))
CODE = [cell for cell in NOTEBOOK['cells'] if cell['cell_type'] == 'code']
SHORT = {
    'EPOCHS = 6': 'EPOCHS = 2',
    "{'train': 80, 'val': 20, 'test': 20}": "{'train': 8, 'val': 2, 'test': 3}",
}


def source(cell: dict) -> str:
    return ''.join(cell['source'])


def test_cells_are_those_of_a_notebook() -> None:
    assert (NOTEBOOK['nbformat'], NOTEBOOK['nbformat_minor']) == (4, 5)
    names = [cell['id'] for cell in NOTEBOOK['cells']]
    assert len(names) == len(set(names))
    for cell in CODE:
        ast.parse(source(cell))  # plain Python, so that it runs without Jupyter too


@pytest.mark.slow
def test_the_short_form_runs(tmp_path: Path) -> None:
    program = '\n'.join(map(source, CODE))
    for long, short in SHORT.items():
        assert program.count(long) == 1
        program = program.replace(long, short)
    command = [sys.executable, '-c', program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    share = re.search(r'labels equal to those of PyTorch: ([\d.]+)%', done.stdout)
    assert share is not None
    assert float(share[1]) > 99.9
    assert "'kind': 'prune'" in done.stdout
    assert "'mIoU': " in done.stdout
    for name in ('training.png', 'predictions.png', 'ticket.onnx'):
        assert (tmp_path / name).stat().st_size > 1000
