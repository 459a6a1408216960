"""The scheduler: trainings side by side, each when what it loads is there."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .plan import ROOT, Training
from .steps import Step, Worker

EPOCH = re.compile(r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\]')
TAIL = 15  # lines of a log that are shown of a failure


class Job:
    """A worker with the process that runs its present step."""

    def __init__(self, worker: Worker, environment: dict[str, str], lock: int) -> None:
        self.worker = worker
        self.begin = time.time()
        self.failed = False
        self._environment = {**environment, **worker.environment}
        self._lock = lock
        self._steps = worker.steps()
        self._process: subprocess.Popen | None = None
        self._next()

    def _next(self) -> None:
        self.step: Step | None = next(self._steps, None)
        if self.step is None:
            return
        with open(self.step.log, 'w', encoding='utf-8') as log:
            self._process = subprocess.Popen(
                self.step.command,
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[self._lock],  # held for as long as anything writes into the work dir
                start_new_session=True,
            )

    def poll(self) -> bool:
        """Go on to the next step if it is time; returns whether there is something left."""
        code = self._process.poll() if self._process else None
        if code:
            self.failed = True
        elif code == 0:
            self._next()
        return not self.failed and self.step is not None

    def stop(self) -> None:
        """End the process, with its data loaders."""
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait()

    def epochs(self) -> float:
        """Epochs that are done, by the log."""
        if self.step is None or self.step.name != 'train':
            return self.worker.training.epochs
        found = EPOCH.findall(self.step.log.read_text(errors='replace'))
        if not found:
            return 0
        epoch, iteration, per_epoch = map(int, found[-1])
        return epoch - 1 + iteration / per_epoch


def run(
    workers: Iterable[Worker], jobs: int, lock: int, progress: Progress
) -> dict[Training, Path | None]:
    """Run workers to their ends, as many at once as there are jobs.

    A failure does not stop the workers that need nothing of it. Whatever ends this function ends
    the processes too.

    Args:
        workers (Iterable[Worker]): Those that have something left to do, the most urgent first.
        jobs (int): Number of processes at once.
        lock (int): File descriptor that the processes keep open.
        progress (Progress): Where to show them.

    Returns:
        dict[Training, Path | None]: Trainings that failed with their logs; None for those that
        were not begun since what they load has failed.
    """
    threads = max(len(os.sched_getaffinity(0)) // jobs, 1)
    environment = dict(
        os.environ,
        # OpenMP waits in a busy loop: more threads than cores slow each other down tenfold
        OMP_NUM_THREADS=str(threads),
        PYTHONWARNINGS='ignore',
        PYTHONUNBUFFERED='1',
    )
    waiting = list(workers)
    failed: dict[Training, Path | None] = {}
    overall = progress.add_task('all', total=len(waiting))
    tasks = {}
    running: list[Job] = []
    try:
        while waiting or running:
            busy = {worker.training for worker in waiting} | {j.worker.training for j in running}
            for worker in [w for w in waiting if w.training.parent in failed]:
                waiting.remove(worker)
                failed[worker.training] = None
            ready = [worker for worker in waiting if worker.training.parent not in busy]
            for worker in ready[: jobs - len(running)]:
                waiting.remove(worker)
                worker.begin()
                job = Job(worker, environment, lock)
                running.append(job)
                tasks[job] = progress.add_task('', total=worker.training.epochs)
            for job in list(running):
                name, alive = job.worker.training.name, job.poll()
                if alive:
                    text = f'{name}: {job.step.name}' if job.step else name
                    progress.update(tasks[job], description=text, completed=job.epochs())
                    continue
                running.remove(job)
                progress.remove_task(tasks.pop(job))
                progress.advance(overall)
                minutes = (time.time() - job.begin) / 60
                if job.failed and job.step:
                    failed[job.worker.training] = job.step.log
                    progress.console.print(f'[red]{name} failed[/] after {minutes:.1f} min:')
                    lines = job.step.log.read_text(errors='replace').splitlines()
                    progress.console.print('\n'.join(lines[-TAIL:]), markup=False)
                else:
                    progress.console.print(f'{name} done, {minutes:.1f} min')
            time.sleep(0.2)
    finally:
        for job in running:
            job.stop()
    return failed


def bars(console: Console) -> Progress:
    """Progress of trainings, in epochs."""
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=console)
