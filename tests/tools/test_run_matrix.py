"""A matrix runs to its table, through being stopped, and leaves what is finished."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine import Config
from rich.console import Console

from st_mm.ticket import load_checkpoint

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'tools'))  # where Python finds the packages of a tool

import run_matrix  # noqa: E402

ABLATIONS = ROOT / 'configs' / 'ablations'
TOOL = ROOT / 'tools' / 'run_matrix.py'
LADDER = ABLATIONS / 'toy' / 'ladder.py'


def test_one_call_at_a_time(tmp_path: Path) -> None:
    with (
        run_matrix.lock(tmp_path),
        pytest.raises(ValueError, match='is at work in'),
        run_matrix.lock(tmp_path),
    ):
        pass
    with run_matrix.lock(tmp_path):
        pass


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['nowhere.py'], 'nowhere.py'),
        ([LADDER, '--ratio', '1.5'], '--ratio must be between 0 and 1'),
        ([LADDER, '--cpus-per-job', '0'], '--cpus-per-job must be more than 0'),
        ([LADDER, '--gpus-per-job', '1.5'], 'a share of one GPU or a whole number, got 1.5'),
        ([LADDER, '--gpus-per-job', '-1'], 'a share of one GPU or a whole number, got -1'),
        ([LADDER, '--retries', '-1'], '--retries must be at least 0'),
        ([LADDER, '--seeds', '1', '1'], '--seeds must be different numbers from 0 on, got 1 1'),
        (
            [LADDER, '--seeds', '1', '--cfg-options', 'randomness.seed=2'],
            '--seeds and --cfg-options randomness.seed say the same',
        ),
        (['results.json'], 'results.json holds results: add --report-only'),
        (['results.json', '--report-only'], 'there is no results.json: run the matrix first'),
    ],
)
def test_wrong_arguments(
    arguments: list, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    code, err = call(monkeypatch, capsys, *arguments)
    assert code == 2
    assert message in err


def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *arguments: object
) -> tuple[int, str]:
    """Run the command line in this process; gives the exit code and all it prints."""
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sys, 'argv', ['run_matrix.py', *map(str, arguments)])
    monkeypatch.setattr(run_matrix, 'console', Console(width=120))
    try:
        code = run_matrix.main()
    except SystemExit as stop:
        code = stop.code
    finally:
        signal.signal(signal.SIGTERM, handler)
    return code, ''.join(capsys.readouterr())


def test_without_ray(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, 'ray', None)  # what Python takes for not installed
    (tmp_path / 'search.py').write_text(f'_base_ = {str(ABLATIONS / "toy" / "search.py")!r}')
    code, err = call(monkeypatch, capsys, write_matrix(tmp_path, 'one', 'search'))
    assert code == 2
    assert "error: matrices run on Ray, which is not installed: pip install 'st_mm[matrix]'" in err
    found = [path.name for path in (tmp_path / 'work').iterdir()]
    assert found == ['.matrix.lock']  # nothing was begun


def test_a_dry_run_with_seeds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / 'search.py').write_text(f'_base_ = {str(ABLATIONS / "toy" / "search.py")!r}')
    path = write_matrix(tmp_path, 'one', 'search')
    code, out = call(monkeypatch, capsys, path, '--dry-run', '--seeds', '0', '5')
    assert code == 0
    assert out.splitlines() == ['search: 30 epochs', 'search seed5: 30 epochs']


# epochs; the search is long enough to be stopped in the middle
TINY = dict(search=20, **{'sp-magnitude': 0, 'sp-magnitude-retrain': 1})


@pytest.fixture
def matrix(tiny_config: Callable[..., Config], tmp_path: Path) -> Path:
    """The toy configs of search and S+P by magnitude, cut down to two epochs of seconds."""
    tiny = tiny_config(tmp_path / 'run')
    keys = ('model', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'default_hooks')
    cuts = ''.join(f'{key} = {dict(_delete_=True, **tiny[key].to_dict())!r}\n' for key in keys)
    search = "custom_hooks = [_base_.ema, {**_base_.search, 'interval': 1}]\n"
    for name, epochs in TINY.items():
        base = ABLATIONS / 'toy' / f'{name}.py'
        text = f'_base_ = {str(base)!r}\n{cuts}train_cfg = dict(max_epochs={epochs})\n'
        (tmp_path / f'{name}.py').write_text(text + (search if name == 'search' else ''))
    return write_matrix(tmp_path, 'pair', *list(TINY)[1:])


def write_matrix(folder: Path, name: str, *configs: str) -> Path:
    """A matrix with a row for each config."""
    path = folder / f'{name}.py'
    path.write_text(f"""\
work_dir = {str(folder / 'work')!r}
input_shape = (3, 64, 128)
metric = 'mIoU'
ratios = [0.5]
rows = {[dict(label=config, config=f'{config}.py') for config in configs]}
""")
    return path


@pytest.mark.slow
def test_a_matrix_that_is_stopped_goes_on_to_its_table(
    matrix: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip('ray')
    work = matrix.parent / 'work'
    first = work / 'search' / 'epoch_1.pth'
    with subprocess.Popen([sys.executable, run_matrix.__file__, matrix]) as process:
        while not first.exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 143
    assert not (work / 'pair').exists()
    saved = [int(path.stem.removeprefix('epoch_')) for path in first.parent.glob('epoch_*.pth')]
    assert max(saved) < TINY['search']  # an epoch takes a moment: it may be the second

    code, out = call(monkeypatch, capsys, matrix)
    assert code == 0, out
    assert f'resumed epoch: {max(saved)},' in (work / 'search' / 'train.txt').read_text()
    check_results(json.loads((work / 'pair' / 'results.json').read_text()))
    table = (work / 'pair' / 'table.md').read_bytes()
    assert len(table.splitlines()) == 4
    assert (work / 'pair' / 'tradeoff.png').stat().st_size > 1000

    before = {path: path.stat().st_mtime_ns for path in work.rglob('*.pth')}
    code, out = call(monkeypatch, capsys, matrix)
    assert code == 0
    assert ': done' not in out
    assert {path: path.stat().st_mtime_ns for path in work.rglob('*.pth')} == before

    code, out = call(monkeypatch, capsys, matrix, '--cfg-options', 'randomness.seed=1')
    assert code == 2
    assert 'begun with other settings (randomness)' in out

    for name in ('table.md', 'tradeoff.png'):
        (work / 'pair' / name).unlink()
    code, out = call(monkeypatch, capsys, matrix, '--report-only', '--x-scale', 'linear')
    assert code == 0, out
    assert (work / 'pair' / 'table.md').read_bytes() == table
    assert (work / 'pair' / 'tradeoff.png').stat().st_size > 1000


def check_results(found: dict) -> None:
    """Whatever table and plot need is there, and how it came about."""
    assert (found['metric'], found['input_shape']) == ('mIoU', [3, 64, 128])
    assert [row['label'] for row in found['rows']] == ['sp-magnitude', 'sp-magnitude-retrain']
    for row in found['rows']:
        assert row['totals']['weights']['density'] == pytest.approx(0.5, abs=2e-3)
        assert row['metrics'].keys() >= {'mIoU', 'mAcc', 'aAcc'}
        assert 0 <= row['metrics']['mIoU'] <= 100
        assert row['seed'] == 0
    pruned, retrained = found['rows']
    assert pruned['totals']['structural'] == retrained['totals']['structural']
    assert found['trainings'][pruned['training']]['loads'] == 'search'
    runs = {name: training['run'] for name, training in found['trainings'].items()}
    assert runs.keys() == {'search', 'sp-magnitude p=0.5', 'sp-magnitude-retrain p=0.5'}
    for run in runs.values():
        assert run['versions'].keys() >= {'python', 'torch', 'mmengine', 'st_mm', 'ray'}
        assert run['machine']['cpus'] >= run['machine']['cpus_per_job'] == 1
        assert run['seconds']['train'] > 0
        assert run['step'] == ''
        assert 'commit' in run


@pytest.mark.slow
def test_a_lost_node_costs_no_row(matrix: Path) -> None:
    """Both seeds train at once, a node each; one node goes, and the other ends both trainings."""
    pytest.importorskip('ray')
    from ray.cluster_utils import Cluster

    path = write_matrix(matrix.parent, 'one', 'search')
    work = matrix.parent / 'work'
    cluster = Cluster(initialize_head=True, head_node_args=dict(num_cpus=1, num_gpus=0))
    try:
        other = cluster.add_node(num_cpus=1, num_gpus=0)
        command = [sys.executable, run_matrix.__file__, path, '--seeds', '0', '1']
        command += ['--address', cluster.address]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            runs = [work / 'search', work / 'seed1' / 'search']
            on_other: list[Path] = []
            while not (on_other and (on_other[0] / 'epoch_1.pth').exists()):
                assert process.poll() is None
                time.sleep(0.05)
                notes = [run / 'run.json' for run in runs if (run / 'run.json').exists()]
                on_other = [
                    note.parent for note in notes if f'/{other.node_id[:6]}' in note.read_text()
                ]
            cluster.remove_node(other, allow_graceful=False)
            out, _ = process.communicate()
    finally:
        cluster.shutdown()
    assert process.returncode == 0, out
    [lost] = on_other
    assert re.search(r'lost; goes on from epoch_\d+.pth on ', out), out
    assert 'resumed epoch: ' in (lost / 'train.txt').read_text()
    found = json.loads((work / 'one' / 'results.json').read_text())
    assert [row['seed'] for row in found['rows']] == [0, 1]
    name = 'search' if lost == runs[0] else 'search seed1'
    assert found['trainings'][name]['run']['attempt'] == 2
    assert '±' in (work / 'one' / 'table.md').read_text()

    # what the lost node had begun is what a training gives that nothing has stopped
    alone = work / 'alone'
    command = [sys.executable, ROOT / 'tools' / 'train.py', path.with_name('search.py')]
    command += ['--work-dir', alone, '--cfg-options', f'randomness.seed={runs.index(lost)}']
    subprocess.run(command, check=True, capture_output=True)
    ours, theirs = (
        load_checkpoint(run / f'epoch_{TINY["search"]}.pth')['state_dict'] for run in (lost, alone)
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
