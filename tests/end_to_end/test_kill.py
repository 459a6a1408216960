"""A training killed at any moment goes on, and ends bit for bit as one that nobody killed.

As a script this file is a server: it imports everything once and forks a process per training.
"""

import gc
import importlib
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, MutableSequence
from pathlib import Path
from typing import Any

import pytest
from mmengine import Config
from mmengine.hooks import checkpoint_hook
from mmengine.runner import Runner

from st_mm import files  # before mmseg, for the runtime fixes
from st_mm.ticket import KEY, load_checkpoint

from mmseg.utils import register_all_modules  # isort: skip

# How many trainings are killed where: at a share, drawn at random, of the time that a training
# takes, or of the steps of a kind that it makes.
KINDS = dict(
    time=8,  # from outside, whatever the training is doing
    cut=4,  # in a search step, before one more tensor of the model or its EMA is cut
    half=2,  # with half of a checkpoint written
    sync=1,  # with all of it written, but maybe not to the disk
    move=1,  # before it comes into its place
    moved=2,  # when it is there, and mmengine's `last_checkpoint` names the one before
    note=2,  # with `last_checkpoint` opened for writing, and hence empty
)
STEPS = [kind for kind in KINDS if kind != 'time']
SHARES = random.Random(0)
MOMENTS = [(kind, round(SHARES.random(), 2)) for kind, count in KINDS.items() for _ in range(count)]

Train = Callable[[Config, str, float], tuple[int, dict[str, float]]]


def _train(config: dict, kind: str, number: float, steps: MutableSequence[int]) -> None:
    """Train in a process of its own, counting steps by kind, and die where it is due."""
    sys.stdout = sys.stderr  # the other is for the server's replies

    def step(name: str) -> None:
        if (name, steps[STEPS.index(name)]) == (kind, number):
            os.kill(os.getpid(), signal.SIGKILL)
        steps[STEPS.index(name)] += 1

    def watch(module: Any, name: str, before: str = '', after: str = '') -> None:
        function = getattr(module, name)

        def watched(*args: Any) -> Any:
            if before:
                step(before)
            result = function(*args)
            if after:
                step(after)
            return result

        setattr(module, name, watched)

    def open_for_halves(path: str | Path, mode: str) -> Any:
        file = open(path, mode)  # noqa: SIM115 - the caller closes it
        write = file.write

        def write_halves(data: bytes) -> None:
            write(data[: len(data) // 2])
            file.flush()
            step('half')
            write(data[len(data) // 2 :])

        file.write = write_halves
        return file

    files.open = open_for_halves
    watch(os, 'fsync', before='sync')
    watch(os, 'replace', before='move', after='moved')
    checkpoint_hook.open = open
    watch(checkpoint_hook, 'open', after='note')
    # the package has a function of the module's name
    watch(importlib.import_module('st_mm.search.shrink'), 'set_data', before='cut')
    # formatting the config at every save would take longer than the training
    Runner.from_cfg(Config(config, format_python_code=False)).train()


def serve() -> None:
    """Train a config per request; reply how that ended, after how much time and which steps."""
    register_all_modules()
    importlib.import_module('torchvision')  # for mmengine's list of versions
    gc.freeze()  # so that collecting in a fork does not copy all of this
    fork = multiprocessing.get_context('fork')
    while True:
        try:
            config, kind, number = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        steps = fork.RawArray('i', len(STEPS))
        process = fork.Process(target=_train, args=(config, kind, number, steps))
        begin = time.monotonic()
        process.start()
        if kind == 'time':
            process.join(number)
            process.kill()
        process.join()
        done = dict(zip(STEPS, steps, strict=True), time=time.monotonic() - begin)
        pickle.dump((process.exitcode, done), sys.stdout.buffer)
        sys.stdout.flush()


@pytest.fixture(scope='module')
def train() -> Iterator[Train]:
    """Trains a config, to be killed at the given time or step of a kind; what came of it."""
    pipe = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with subprocess.Popen([sys.executable, __file__], **pipe) as server:

        def train(config: Config, kind: str = '', number: float = 0) -> tuple[int, dict]:
            pickle.dump((config.to_dict(), kind, number), server.stdin)
            server.stdin.flush()
            return pickle.load(server.stdout)

        yield train


@pytest.fixture(scope='module')
def totals(
    train: Train,
    tiny_config: Callable[..., Config],
    ticket_run: Path,
    assert_same_end: Callable[[Path, Path], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, float]:
    """How long a whole training takes, and its number of steps by kind."""
    work_dir = tmp_path_factory.mktemp('whole') / 'run'
    exitcode, totals = train(tiny_config(work_dir))
    assert exitcode == 0
    assert_same_end(work_dir / 'epoch_6.pth', ticket_run / 'epoch_6.pth')
    return totals


def _density(saved: dict[str, Any], weights: str) -> float:
    state = {name.removeprefix('module.'): weight for name, weight in saved[weights].items()}
    masked = [state[name] for name in saved['meta'][KEY]['masks']]
    return sum(int(w.count_nonzero()) for w in masked) / sum(w.numel() for w in masked)


@pytest.mark.slow
@pytest.mark.parametrize(('kind', 'share'), MOMENTS)
def test_killed(
    kind: str,
    share: float,
    train: Train,
    totals: dict[str, float],
    tiny_config: Callable[..., Config],
    ticket_run: Path,
    assert_same_end: Callable[[Path, Path], None],
    tmp_path: Path,
) -> None:
    work_dir = tmp_path / 'run'
    config = tiny_config(work_dir, resume=True)
    moment = share * totals[kind] if kind == 'time' else int(share * totals[kind])
    exitcode, done = train(config, kind, moment)
    while kind == 'time' and exitcode == 0:  # the machine has become faster since
        shutil.rmtree(work_dir)
        moment /= 2
        exitcode, done = train(config, kind, moment)
    where = f'killed at {kind} {moment} of {totals[kind]}, having done {done}'
    assert exitcode == -signal.SIGKILL, where
    saved = {path: path.stat().st_mtime_ns for path in work_dir.glob('*.pth')}
    for path in saved:
        assert load_checkpoint(path)['state_dict'], f'{where}: {path.name}'

    exitcode, _ = train(config)
    assert exitcode == 0, where
    last = work_dir / 'epoch_6.pth'
    assert_same_end(last, ticket_run / 'epoch_6.pth')
    for weights in ('state_dict', 'ema_state_dict'):
        assert _density(load_checkpoint(last), weights) == pytest.approx(0.1, abs=1e-3), where
    assert (work_dir / 'last_checkpoint').read_text() == str(last), where
    assert not list(work_dir.glob('.*.part')), where
    # it went on from the newest checkpoint, but for one that `last_checkpoint` did not name yet
    again = [path.name for path, time_ns in saved.items() if path.stat().st_mtime_ns != time_ns]
    assert len(again) <= (kind in ('time', 'moved')), f'{where}: {again} written again'


@pytest.mark.slow
@pytest.mark.parametrize(('kind', 'number'), [('half', 3), ('moved', 3)])
def test_killed_where_only_one_checkpoint_is_kept(
    kind: str,
    number: int,
    train: Train,
    tiny_config: Callable[..., Config],
    ticket_run: Path,
    assert_same_end: Callable[[Path, Path], None],
    tmp_path: Path,
) -> None:
    """mmengine removes the old one before the new one is there."""
    hooks = dict(checkpoint=dict(max_keep_ckpts=1))
    config = tiny_config(tmp_path / 'run', resume=True, default_hooks=hooks)
    assert train(config, kind, number)[0] == -signal.SIGKILL
    assert train(config)[0] == 0
    assert_same_end(tmp_path / 'run' / 'epoch_6.pth', ticket_run / 'epoch_6.pth')


if __name__ == '__main__':
    serve()
