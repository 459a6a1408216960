"""The table of latencies: every pair is there, ratios are of times, what is missing is named."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'benchmarks' / 'latency.py'
CONFIG = ROOT / 'configs' / 'toy' / 'hr-supernet-slim_8b-30e_toy-streets-128x256.py'
SMALL = ['--size', '64x128', '--rounds', 2]


def run(*words: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.compiler
def test_a_checkpoint_in_every_runtime(ticket_run: Path, tmp_path: Path) -> None:
    files = ['--json', tmp_path / 'latency.json', '--markdown', tmp_path / 'latency.md']
    stock = ['--stock', 'Fast-SCNN']
    done = run(TOOL, ticket_run / 'epoch_6.pth', *SMALL, *stock, *files)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / 'latency.json').read_text())
    runtimes = {'eager', 'channels_last', 'ort', 'ort-compact', 'engine', 'engine-labels'}
    networks = {'supernet', 'searched', 'ticket', 'Fast-SCNN'}
    rows = {(row['network'], row['runtime']): row for row in figures['rows']}
    assert rows.keys() >= {(n, r) for n in networks for r in runtimes}
    assert figures['base'] == ['ticket', 'engine']
    assert rows['ticket', 'engine']['ratio'] == 1
    for row in rows.values():
        pairs = zip(row['cpu_rounds'], rows['ticket', 'engine']['cpu_rounds'], strict=True)
        assert row['ratio'] == pytest.approx(sum(ours / base for ours, base in pairs) / 2)
        assert 0 < row['cpu_median'] <= row['cpu_p95']
    macs = figures['macs']
    assert macs['ticket']['structural'] == macs['searched']['structural']
    assert macs['ticket']['nonzero'] < macs['searched']['nonzero'] < macs['supernet']['nonzero']
    conditions = figures['conditions']
    assert (conditions['size'], conditions['threads']) == ([64, 128], [1])
    if conditions['openvino'] == 'missing':
        named = [note for note in figures['not_measured'] if 'openvino is not installed' in note]
        assert named
        assert named[0] in done.stdout.replace('\n  ', ' ')
    text = (tmp_path / 'latency.md').read_text()
    assert text.index('Process time over that of ticket in engine') < text.index('Milliseconds')
    assert '| Fast-SCNN |' in text


@pytest.mark.slow
def test_a_config_has_a_drawn_ticket(tmp_path: Path) -> None:
    words = [*SMALL, '--runtimes', 'eager', 'ort', 'ort-compact', '--zeros', 0.95]
    base = ['--base', 'supernet', 'ort', '--threads', 1, 2, '--json', tmp_path / 'latency.json']
    done = run(TOOL, CONFIG, *words, *base)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / 'latency.json').read_text())
    assert not figures['not_measured']
    ticket = figures['macs']['ticket']
    assert 0.03 < ticket['nonzero'] / ticket['structural'] < 0.15
    rows = {(row['network'], row['runtime'], row['threads']): row for row in figures['rows']}
    assert rows['supernet', 'ort', 1]['ratio'] == 1
    assert len(rows) == 6 * 2
    assert all(row['ratio'] > 0 for row in rows.values())
    for (network, runtime, threads), row in rows.items():
        assert row['speedup'] == 1 if threads == 1 else row['speedup'] > 0, (network, runtime)
    assert 'Faster than on 1 by' in done.stdout


@pytest.fixture(scope='module')
def refusals() -> dict[str, str]:
    """What the command line answers to bad arguments, asked in one process."""
    code = """
import contextlib, io, json, sys
sys.path.insert(0, 'tools/benchmarks')
import latency
said = {}
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            latency.parse(words)
        except SystemExit as end:
            said[' '.join(words)] = f'{end.code} {errors.getvalue()}'
print(json.dumps(said))
"""
    done = run('-c', code, json.dumps([line.split() for line in BAD]))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


BAD = {
    '': 'nothing to measure',
    'nowhere.pth': 'there is no file nowhere.pth',
    '--stock AlexNet': "'AlexNet' is none of Fast-SCNN",
    'README.md --size 64': "'64' is not HEIGHTxWIDTH",
    'README.md --zeros 1': "'1' is not a share",
    'README.md --rounds 0': "'0' is not a whole number",
    'README.md --runtimes tvm': 'tvm',
    'README.md --json README.md': 'README.md',
}


@pytest.mark.parametrize('words', BAD)
def test_bad_arguments(refusals: dict[str, str], words: str) -> None:
    assert refusals[words].startswith('2 ')
    assert BAD[words] in refusals[words]


@pytest.mark.slow
@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['README.md'], 'README.md'),
        (['--stock', 'mmseg::nowhere.py'], 'nowhere.py'),
        ([CONFIG, *SMALL, '--runtimes', 'eager', '--base', 'ticket', 'ort'], 'was not measured'),
    ],
    ids=str,
)
def test_what_cannot_be_built(words: list, message: str) -> None:
    done = run(TOOL, *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert 'Traceback' not in done.stderr
