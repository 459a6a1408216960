"""Jobs on Ray: side by side, one after the other, with GPUs of their own, and through losses."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

ray = pytest.importorskip('ray')
ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / 'tools'))  # where Python finds the packages of a tool

from matrix import record  # noqa: E402
from matrix.scheduler import Needs, bars, connect, run, settle  # noqa: E402
from matrix.steps import Job, Step  # noqa: E402
from matrix.task import SKIPPED, Outcome  # noqa: E402
from matrix.training import Training  # noqa: E402

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests

pytestmark = pytest.mark.slow  # Ray takes some seconds to start


@pytest.fixture(scope='module', autouse=True)
def _ray() -> Iterator[None]:
    """Two CPUs, and two GPUs that are not there: Ray gives out their numbers all the same."""
    with connect(num_cpus=2, num_gpus=2):
        yield


class Scripted(Job):
    """A job whose one step is a piece of Python."""

    def __init__(self, folder: Path, code: str, parent: Job | None = None) -> None:
        above = parent.training if parent else None
        ticket = folder / 'epoch_1.pth'
        training = Training(
            folder.with_suffix('.py'), folder, ticket, None, None, '', 1, above, '{}'
        )
        super().__init__(training, False, (3, 8, 8), [])
        self.code = code

    def steps(self) -> Iterator[Step]:
        command = [sys.executable, '-c', self.code]
        yield Step('train', command, self.training.folder / 'train.txt')


NO_GPU = Needs(gpus=0)


def run_all(jobs: list[Job], needs: Needs = NO_GPU) -> tuple[dict[str, Outcome], str]:
    """The failed jobs by name, and all that was shown."""
    console = Console(record=True, width=120)
    with bars(console) as progress:
        failed = run(jobs, needs, progress)
    return {training.name: outcome for training, outcome in failed.items()}, console.export_text()


def printed(job: Job) -> list[str]:
    """What a job has printed, after the command itself."""
    return (job.training.folder / 'train.txt').read_text().splitlines()[-1:]


def test_a_failure_stops_only_what_needs_it(tmp_path: Path) -> None:
    bad = Scripted(tmp_path / 'bad', "raise SystemExit('no such data')")
    child = Scripted(tmp_path / 'child', 'pass', parent=bad)
    good = Scripted(tmp_path / 'good', 'pass')
    after = Scripted(tmp_path / 'after', 'print(1)', parent=good)
    failed, text = run_all([bad, child, good, after])
    assert failed.keys() == {'bad', 'child'}
    assert failed['bad'].log == tmp_path / 'bad' / 'train.txt'
    assert failed['child'] == SKIPPED
    assert 'no such data' in text
    assert 'after: done' in text
    assert printed(after) == ['1']
    assert not (tmp_path / 'child').exists()


def test_two_jobs_run_at_once_and_a_child_waits(tmp_path: Path) -> None:
    code = (
        'import pathlib, time\npathlib.Path({!r}).touch()\n'
        'while not pathlib.Path({!r}).exists(): time.sleep(0.01)'
    )
    marks = [str(tmp_path / name) for name in ('one.mark', 'two.mark')]
    one = Scripted(tmp_path / 'one', code.format(*marks))
    two = Scripted(tmp_path / 'two', code.format(*reversed(marks)))  # each waits for the other
    look = f'import pathlib\nassert len(list(pathlib.Path({str(tmp_path)!r}).glob("*.mark"))) == 2'
    child = Scripted(tmp_path / 'child', look, parent=one)
    failed, _ = run_all([one, child, two])
    assert not failed


@pytest.mark.parametrize(('gpus', 'seen'), [(None, {'0', '1'}), (0, {''}), (0.5, {'0', '1'})])
def test_gpus_of_a_job(gpus: float | None, seen: set[str], tmp_path: Path) -> None:
    code = (
        'import os, time\ntime.sleep(1)\n'  # so that jobs overlap where there is room
        'print("sees", os.environ["CUDA_VISIBLE_DEVICES"], os.environ["OMP_NUM_THREADS"])'
    )
    jobs = [Scripted(tmp_path / name, code) for name in 'ab']
    failed, _ = run_all(jobs, Needs(gpus=gpus))
    assert not failed
    found = [printed(job)[0].split(' ') for job in jobs]
    assert all(threads == '1' for _, _, threads in found)
    visible = [gpu for _, gpu, _ in found]
    assert set(visible) <= seen
    if gpus is None:  # one each
        assert set(visible) == seen
    named = [record.read(job.training.folder).machine['gpus'] for job in jobs]
    assert [len(names) for names in named] == [len(gpu.split(',')) if gpu else 0 for gpu in visible]


def test_what_no_node_has_is_refused() -> None:
    with pytest.raises(ValueError, match=r'no node has 1 CPUs and 3 GPUs .* lower'):
        settle(Needs(gpus=3))
    with pytest.raises(ValueError, match=r'no node has 2\.5 CPUs'):
        settle(Needs(cpus=2.5))
    assert settle(Needs()) == Needs(gpus=1)


HANG = 'import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)'


def wait_for(what: Callable[[], object]) -> None:
    """Wait until something is there."""
    end = time.monotonic() + 300
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def started(job: Job) -> int | None:
    """Process of a job that says so; None before that."""
    log = job.training.folder / 'train.txt'
    words = log.read_text().split() if log.is_file() else []
    return int(words[-1]) if words and words[-1].isdecimal() else None


def test_a_lost_worker_takes_its_training_with_it_and_the_job_goes_on(
    gone: Callable[[int], bool], tmp_path: Path
) -> None:
    marks = tmp_path / 'marks'
    marks.mkdir()
    code = (  # hangs the first time
        'import os, pathlib, time\n'
        f'marks = pathlib.Path({str(marks)!r})\n'
        '(marks / str(os.getpid())).touch()\n'
        'time.sleep(600 if len(list(marks.iterdir())) == 1 else 0)'
    )
    job = Scripted(tmp_path / 'job', code)

    def kill() -> None:
        wait_for(lambda: list(marks.iterdir()))
        [first] = marks.iterdir()
        parent = Path(f'/proc/{first.name}/stat').read_text().rpartition(')')[2].split()[1]
        os.kill(int(parent), signal.SIGKILL)  # the worker, not the training

    killer = threading.Thread(target=kill)
    killer.start()
    failed, text = run_all([job])
    killer.join()
    assert not failed
    assert 'job: its node or worker was lost; begins on' in text
    first, second = (int(mark.name) for mark in marks.iterdir())
    assert gone(first)
    assert gone(second)
    assert record.read(job.training.folder).attempt == 2


def test_a_job_that_loses_too_many_workers_fails(tmp_path: Path) -> None:
    code = 'import os, signal\nos.kill(os.getppid(), signal.SIGKILL)'
    job = Scripted(tmp_path / 'job', code)
    child = Scripted(tmp_path / 'child', 'pass', parent=job)
    failed, _ = run_all([job, child], Needs(gpus=0, retries=1))
    assert 'WorkerCrashedError' in failed['job'].reason
    assert failed['child'] == SKIPPED
    assert record.read(job.training.folder).attempt == 2


def test_whatever_ends_the_call_ends_the_trainings(
    gone: Callable[[int], bool], tmp_path: Path
) -> None:
    jobs = [Scripted(tmp_path / name, HANG) for name in 'abc']  # the third waits for room

    def interrupt() -> None:
        wait_for(lambda: all(map(started, jobs[:2])))
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_all(jobs)
    thread.join()
    assert all(gone(started(job)) for job in jobs[:2])
    assert started(jobs[2]) is None
