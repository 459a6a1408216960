import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = 'configs/toy/hr-supernet-slim_8b-30e_toy-streets-128x256.py'

pytestmark = pytest.mark.slow


def run(*words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, 'tools/analysis/get_flops.py', *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_a_config(tmp_path: Path) -> None:
    done = run(CONFIG, '--shape', 128, 256, '--layers', '--json', tmp_path / 'card.json')
    assert done.returncode == 0, done.stderr
    assert 'decode_head.conv_seg' in done.stdout
    card = json.loads((tmp_path / 'card.json').read_text())
    assert card['dense'] == card['nonzero'] == dict(params=259183, macs=272019456)


def test_a_checkpoint(ticket_run: Path) -> None:
    done = run(ticket_run / 'epoch_6.pth')
    assert done.returncode == 0, done.stderr
    assert 'EncoderDecoder at 3x64x128' in done.stdout
    assert '(1 - p)' in done.stdout


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['nowhere.py'], 'nowhere.py'),
        (['nowhere.pth'], 'nowhere.pth'),
        ([CONFIG, '--shape', 0], 'not a number of pixels'),
        ([CONFIG, '--shape', 8, 8, 8], '--shape takes a height and a width'),
        (['README.md'], 'README.md'),
    ],
    ids=str,
)
def test_bad_input(words: list, message: str) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert 'Traceback' not in done.stderr
