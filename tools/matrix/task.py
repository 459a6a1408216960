"""A job on the machine that it has got: its steps, a process each, one after the other."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import leash
from .record import Record, Stopwatch
from .steps import Job, Step
from .training import LOCK, ROOT

PATIENCE = 60.0  # seconds until a folder in which another training is at work counts as taken
PAUSE = 0.2


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        reason (str): Why it failed; empty if it did not.
        log (Path, optional): Where there is more to read about that.
        seconds (float): How long it took, in its last attempt.
    """

    reason: str = ''
    log: Path | None = None
    seconds: float = 0.0


SKIPPED = Outcome('not run: what it loads has failed')


def run_job(
    job: Job, call: str, node: str, cpus: float, visible: str, parent: Outcome | None = None
) -> Outcome:
    """Take a job to its end, from wherever it was stopped.

    Args:
        job (Job): The job.
        call (str): Names the call of the tool.
        node (str): Names the machine.
        cpus (float): CPUs that the job has got.
        visible (str): GPUs that it has got, as ``CUDA_VISIBLE_DEVICES`` names them.
        parent (Outcome, optional): Outcome of the job whose ticket this one loads, if that had
            something left to do.

    Returns:
        Outcome: How it ended.
    """
    begin = time.monotonic()
    if parent is not None and parent.reason:
        return SKIPPED
    folder = job.training.folder
    environment = environment_of(job, cpus, visible)
    try:
        with hold(folder) as lock:
            job.begin()
            record = Record.begin(folder, call, node, cpus, visible)
            for step in job.steps():
                watch = Stopwatch(record, folder, step.name)
                if code := follow(step, environment, lock, watch):
                    reason = f'{step.name} ended by signal {-code}' if code < 0 else 'see its log'
                    return Outcome(reason, step.log, time.monotonic() - begin)
            record.step = ''
            record.write(folder)
    except (OSError, ValueError) as error:
        return Outcome(f'{type(error).__name__}: {error}')
    return Outcome(seconds=time.monotonic() - begin)


def run_on_node(job: Job, call: str, cpus: float, parent: Outcome | None) -> Outcome:
    """Run a job where Ray has put this task: see :func:`run_job`."""
    import ray

    context = ray.get_runtime_context()
    node = f'{socket.gethostname()}/{context.get_node_id()[:6]}'
    # without a GPU of its own a job sees none
    visible = ','.join(context.get_accelerator_ids().get('GPU', []))
    return run_job(job, call, node, cpus, visible, parent)


def environment_of(job: Job, cpus: float, visible: str) -> dict[str, str]:
    """Environment of a job's processes: what it has got of the machine, and nothing of Ray's."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith('RAY_')}
    return dict(
        inherited,
        CUDA_VISIBLE_DEVICES=visible,
        # OpenMP waits in a busy loop: more threads than cores slow each other down tenfold
        OMP_NUM_THREADS=str(max(int(cpus), 1)),
        PYTHONWARNINGS='ignore',
        PYTHONUNBUFFERED='1',
        **job.environment,
    )


@contextmanager
def hold(folder: Path, patience: float = PATIENCE) -> Iterator[int]:
    """Hold the folder of a training; gives the file descriptor of the lock.

    The processes of the training get it too, so that the folder is free only once they are gone,
    whatever became of the one that has started them.

    Args:
        folder (Path): Work dir of the training; made if need be.
        patience (float): Seconds to wait for the end of another one. Defaults to 60.

    Raises:
        OSError: If somebody else still holds it then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR)
    try:
        end = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise OSError(
                        f'another training is at work in {folder}: wait for it, or end it'
                    ) from None
                time.sleep(PAUSE)
        yield held
    finally:
        os.close(held)


def follow(step: Step, environment: dict[str, str], lock: int, watch: Stopwatch) -> int:
    """Run the process of a step; returns its exit code.

    However this ends, the process ends, with its data loaders.
    """
    command = [sys.executable, leash.__file__, str(os.getpid()), *step.command]
    with open(step.log, 'a', encoding='utf-8') as log:
        log.write(f'$ {" ".join(step.command)}\n')
        log.flush()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[lock],
            start_new_session=True,
        )
    try:
        while (code := process.poll()) is None:
            watch.tick()
            time.sleep(PAUSE)
        return code
    finally:
        watch.note()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
