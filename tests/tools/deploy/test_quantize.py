"""A ticket in int8: written with its score beside that of float32, or refused in one line."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TOOL = ROOT / 'tools' / 'deploy' / 'quantize.py'
TICKET = 'st_mm://supertickets-p90-slim_32b-36e_toy-shapes-48x48.pth'
MISSING = [name for name in ('nncf', 'openvino') if not importlib.util.find_spec(name)]


def quantize(*words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, TOOL, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f'not installed: {" and ".join(MISSING)}')
def test_int8_and_what_it_costs(tmp_path: Path) -> None:
    import openvino

    data, out = tmp_path / 'shapes', tmp_path / 'ticket.xml'
    draw = [sys.executable, ROOT / 'tools' / 'make_toy_data.py', 'shapes', data]
    subprocess.run(draw, check=True, capture_output=True)
    options = [f'{split}_dataloader.dataset.data_root={data}' for split in ('train', 'val')]
    words = ['--split', 'val', '--pictures', 64, '--cfg-options', *options]
    done = quantize(TICKET, out, *words)
    assert done.returncode == 0, done.stderr
    [scores] = re.findall(r'accuracy/top1 +([\d.]+) +([\d.]+) +([\d.]+)', done.stdout)
    eager, whole, small = map(float, scores)
    assert whole == pytest.approx(eager, abs=0.01)
    assert small > 0.7 * eager
    network = openvino.Core().read_model(out)
    kinds = {node.get_type_name() for node in network.get_ordered_ops()}
    assert 'FakeQuantize' in kinds
    assert out.with_suffix('.bin').stat().st_size > 1000
    before = out.read_bytes()
    again = quantize(TICKET, out, *words)
    assert again.returncode == 2
    assert '--force' in again.stderr
    assert out.read_bytes() == before


@pytest.mark.skipif(not MISSING, reason='nncf and openvino are installed')
def test_says_what_to_install(tmp_path: Path) -> None:
    done = quantize(TICKET, tmp_path / 'ticket.xml')
    assert done.returncode == 2
    assert "pip install 'st_mm[int8]'" in done.stderr
    assert 'Traceback' not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('words', 'message'),
    [(['ticket.onnx'], 'OUT must be named *.xml'), (['a.xml', '--pictures', '0'], '1 or more')],
)
def test_wrong_words(words: list[str], message: str) -> None:
    done = quantize(TICKET, *words)
    assert done.returncode == 2
    assert message in done.stderr
