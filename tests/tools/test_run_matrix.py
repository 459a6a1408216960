"""A matrix runs to its table, through being stopped, and leaves what is finished."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mmengine import Config
from mmengine.registry import HOOKS
from rich.console import Console

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'tools'))  # where Python finds the packages of a tool

import run_matrix  # noqa: E402
from matrix.plan import Plan, Training, read  # noqa: E402
from matrix.scheduler import bars, run  # noqa: E402
from matrix.steps import Step, Worker  # noqa: E402

ABLATIONS = ROOT / 'configs' / 'ablations'
TOOL = ROOT / 'tools' / 'run_matrix.py'
MATRICES = ('ladder', 'criteria', 'sweep')
EPOCHS = dict(toy=(30, 10), camvid=(40, 15), cityscapes=(430, 50))  # of the search, of retraining


def plan_of(path: Path, *ratios: float, **options: object) -> Plan:
    matrix = read(path)
    return Plan(matrix, path.parent, Path('work'), ratios or matrix.ratios, options)


@pytest.mark.slow
@pytest.mark.parametrize('dataset', EPOCHS)
def test_every_row_is_a_config(dataset: str) -> None:
    search, retrain = EPOCHS[dataset]
    folder = ABLATIONS / dataset
    work_dir = read(folder / 'ladder.py').work_dir
    searched = read(folder / 'search.py').model
    seen = {}
    for matrix in ('ladder', 'criteria'):
        for training in plan_of(folder / f'{matrix}.py', 0.7).trainings:
            seen[training.config] = training
    rows = [row.config for row in read(folder / 'sweep.py').rows]
    assert {folder / row for row in rows} < set(seen)
    assert set(folder.glob('*.py')) - set(seen) == {folder / f'{name}.py' for name in MATRICES}
    for training in seen.values():
        config = read(training.config, 0.7)
        for hook in config.custom_hooks:
            HOOKS.build(dict(hook))
        hooks = {hook.pop('type'): hook for hook in config.custom_hooks}
        check_hooks(training.config.stem, hooks)
        assert config.model == searched
        schedules = [schedule.total_steps for schedule in config.param_scheduler]
        assert schedules == ([training.epochs] if training.epochs else [])
        source = config.get('load_from')
        if source is None:
            assert training.epochs == search
            continue
        assert training.epochs == (retrain if 'retrain' in training.name else 0)
        # where the config itself looks is where the tool puts it
        assert source == str(work_dir / training.parent.ticket.relative_to('work'))


def check_hooks(name: str, hooks: dict) -> None:
    first, *rest = name.split('-')
    if first == 'sp':
        assert set(hooks) == {'EMAHook', 'PruneHook', 'InitialCheckpointHook'}
        prune = hooks['PruneHook']
        assert prune.schedule == dict(type='OneShot', ratio=0.7, at=0)
        score = prune.get('score', 'magnitude')
        assert (score if isinstance(score, str) else score.type) == rest[0]
    elif 'retrain' in rest:
        assert set(hooks) == {'EMAHook', 'FixedMaskHook'}
    elif name != 'search':
        prune = hooks['ProgressivePruneHook']
        assert (prune.ratio, prune.get('step')) == (0.7, 1 if name == 'two-in-one' else None)
        on = {'pp-irp': 'prune', 'pp-irs': 'search'}.get(name)
        assert hooks.get('ReactivateHook', {}).get('on') == on
    assert ('SearchHook' in hooks) == (first in ('search', 'two', 'pp') and 'retrain' not in rest)


def test_longest_chains_first_and_nothing_twice() -> None:
    plan = plan_of(ABLATIONS / 'toy' / 'sweep.py', 0.5, 0.95)
    names = [training.name for training in plan.trainings]
    assert names[:3] == ['search', 'pp-irs p=0.5', 'pp-irs p=0.95']
    assert len(set(names)) == len(names) == 9
    folders = [row.training.folder for row in plan.rows]
    assert Path('work/p50/sp-magnitude') in folders
    assert Path('work/p95/pp-irs-retrain') in folders
    assert plan.trainings[0].folder == Path('work/search')


class Scripted(Worker):
    """A worker whose one step is a line of Python."""

    def __init__(self, folder: Path, code: str, parent: Worker | None = None) -> None:
        above = parent.training if parent else None
        training = Training(folder.with_suffix('.py'), folder, None, 1, above, '{}')
        super().__init__(training, False, (3, 8, 8), [])
        self.code = code

    def steps(self) -> Iterator[Step]:
        command = [sys.executable, '-c', self.code]
        yield Step('train', command, self.training.folder / 'train.txt')


def run_all(workers: list[Worker], jobs: int, tmp_path: Path) -> tuple[dict, str]:
    console = Console(record=True, width=100)
    with open(tmp_path / 'lock', 'w') as lock, bars(console) as progress:
        failed = run(workers, jobs, lock.fileno(), progress)
    return failed, console.export_text()


def test_a_failure_stops_only_what_needs_it(tmp_path: Path) -> None:
    bad = Scripted(tmp_path / 'bad', "raise SystemExit('no such data')")
    child = Scripted(tmp_path / 'child', 'pass', parent=bad)
    good = Scripted(tmp_path / 'good', 'pass')
    after = Scripted(tmp_path / 'after', 'print(1)', parent=good)
    failed, text = run_all([bad, child, after, good], 1, tmp_path)
    assert failed == {bad.training: tmp_path / 'bad' / 'train.txt', child.training: None}
    assert 'no such data' in text
    assert (tmp_path / 'after' / 'train.txt').read_text() == '1\n'
    assert not (tmp_path / 'child').exists()


def test_two_jobs_run_at_once_and_a_child_waits(tmp_path: Path) -> None:
    code = (
        'import pathlib, time; pathlib.Path({!r}).touch()\n'
        'while not pathlib.Path({!r}).exists(): time.sleep(0.01)'
    )
    marks = [str(tmp_path / name) for name in ('one.mark', 'two.mark')]
    one = Scripted(tmp_path / 'one', code.format(*marks))
    two = Scripted(tmp_path / 'two', code.format(*reversed(marks)))  # each waits for the other
    look = f'import pathlib; assert len(list(pathlib.Path({str(tmp_path)!r}).glob("*.mark"))) == 2'
    child = Scripted(tmp_path / 'child', look, parent=one)
    failed, _ = run_all([one, child, two], 2, tmp_path)
    assert not failed


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
        ([ABLATIONS / 'toy' / 'ladder.py', '--ratio', '1.5'], '--ratio must be between 0 and 1'),
        ([ABLATIONS / 'toy' / 'ladder.py', '--jobs', '0'], '--jobs must be at least 1'),
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


@pytest.fixture
def matrix(tiny_config: Callable[..., Config], tmp_path: Path) -> Path:
    """The toy configs of search and S+P by magnitude, cut down to two epochs of seconds."""
    tiny = tiny_config(tmp_path / 'run')
    keys = ('model', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'default_hooks')
    cuts = ''.join(f'{key} = {dict(_delete_=True, **tiny[key].to_dict())!r}\n' for key in keys)
    search = "custom_hooks = [_base_.ema, {**_base_.search, 'interval': 1}]\n"
    lengths = dict(search=2, **{'sp-magnitude': 0, 'sp-magnitude-retrain': 1})
    for name, epochs in lengths.items():
        base = ABLATIONS / 'toy' / f'{name}.py'
        text = f'_base_ = {str(base)!r}\n{cuts}train_cfg = dict(max_epochs={epochs})\n'
        (tmp_path / f'{name}.py').write_text(text + (search if name == 'search' else ''))
    rows = [dict(label=name, config=f'{name}.py') for name in list(lengths)[1:]]
    path = tmp_path / 'pair.py'
    path.write_text(f"""\
work_dir = {str(tmp_path / 'work')!r}
input_shape = (3, 64, 128)
metric = 'mIoU'
ratios = [0.5]
rows = {rows}
""")
    return path


@pytest.mark.slow
def test_a_matrix_that_is_stopped_goes_on_to_its_table(
    matrix: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    work = matrix.parent / 'work'
    first = work / 'search' / 'epoch_1.pth'
    with subprocess.Popen([sys.executable, run_matrix.__file__, matrix]) as process:
        while not first.exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 143
    assert not (work / 'pair').exists()

    code, out = call(monkeypatch, capsys, matrix)
    assert code == 0, out
    assert 'resumed epoch: 1' in (work / 'search' / 'train.txt').read_text()
    results = json.loads((work / 'pair' / 'results.json').read_text())
    assert [row['label'] for row in results] == ['sp-magnitude', 'sp-magnitude-retrain']
    for row in results:
        assert row['totals']['weights']['density'] == pytest.approx(0.5, abs=2e-3)
        assert 0 <= row['metrics']['mIoU'] <= 100
    pruned, retrained = results
    assert pruned['totals']['structural'] == retrained['totals']['structural']
    assert len((work / 'pair' / 'table.md').read_text().splitlines()) == 4
    assert (work / 'pair' / 'tradeoff.png').stat().st_size > 1000

    before = {path: path.stat().st_mtime_ns for path in work.rglob('*.pth')}
    code, out = call(monkeypatch, capsys, matrix)
    assert code == 0
    assert not re.search('done, .* min', out)
    assert {path: path.stat().st_mtime_ns for path in work.rglob('*.pth')} == before

    code, out = call(monkeypatch, capsys, matrix, '--cfg-options', 'randomness.seed=1')
    assert code == 2
    assert 'begun with other settings (randomness)' in out
