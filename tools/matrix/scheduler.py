"""The scheduler: jobs as tasks of Ray, on this machine or on a cluster."""

import os
import signal
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from st_mm.analysis.log import last_step

from . import record
from .steps import Job
from .task import SKIPPED, Outcome, run_on_node
from .training import ROOT, Training

TAIL = 15  # lines of a log that are shown of a failure
RECENT = 2**16  # bytes at the end of a log in which the last step is looked for
STORE = 80 * 2**20  # bytes of Ray's object store: outcomes are all that it holds
GOODBYE = 15.0  # seconds in which the trainings of a call that is stopped have ended


@dataclass(frozen=True)
class Needs:
    """What a job needs.

    Attributes:
        cpus (float): CPUs of a job; its number of threads too.
        gpus (float, optional): GPUs of a job; shares of one let jobs share it. None for one if the
            nodes have any.
        retries (int): Nodes or workers that a job may lose before it counts as failed.
    """

    cpus: float = 1.0
    gpus: float | None = None
    retries: int = 3


@contextmanager
def connect(address: str | None = None, **resources: int) -> Iterator[None]:
    """Start Ray on this machine, or join a cluster; on leaving, end what was started.

    Args:
        address (str, optional): Of a cluster, as ``ray start`` prints it. Defaults to None.
        **resources: ``num_cpus`` and ``num_gpus`` of this machine, if it is not to offer all.

    Raises:
        ValueError: If Ray is not installed, or there is no such cluster.
    """
    ray = _ray()
    paths = [str(ROOT / 'tools'), os.environ.get('PYTHONPATH', '')]
    # where workers find this package
    environment = dict(env_vars=dict(PYTHONPATH=os.pathsep.join(filter(None, paths))))
    where: dict[str, Any] = dict(address=address)
    if address is None:
        # not one that happens to run here
        where = dict(address='local', include_dashboard=False, object_store_memory=STORE)
        where |= resources
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(log_to_driver=False, logging_level='ERROR', runtime_env=environment, **where)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ValueError(
            f'Ray does not start{f" at {address}" if address else ""}: '
            f'{str(error).strip().splitlines()[0]}'
        ) from error
    finally:
        signal.signal(signal.SIGTERM, handler)  # Ray has put its own there
    try:
        yield
    finally:
        ray.shutdown()


def _ray() -> Any:
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    try:
        import ray
    except ImportError as error:
        raise ValueError(
            "matrices run on Ray, which is not installed: pip install 'st_mm[matrix]', or "
            'pip install -r requirements/matrix.txt in a checkout'
        ) from error
    return ray


def settle(needs: Needs) -> Needs:
    """Fill in how many GPUs a job needs, and refuse what no node has.

    Args:
        needs (Needs): As asked for.

    Raises:
        ValueError: If every job would wait for ever.
    """
    nodes = [node['Resources'] for node in _ray().nodes() if node['Alive']]
    gpus = needs.gpus
    if gpus is None:
        gpus = float(any(node.get('GPU') for node in nodes))
    if not any(n.get('CPU', 0) >= needs.cpus and n.get('GPU', 0) >= gpus for n in nodes):
        offers = ', '.join(f'{n.get("CPU", 0):g} CPUs and {n.get("GPU", 0):g} GPUs' for n in nodes)
        raise ValueError(
            f'no node has {needs.cpus:g} CPUs and {gpus:g} GPUs for a job (they have {offers}): '
            'lower --cpus-per-job or --gpus-per-job'
        )
    return replace(needs, gpus=gpus)


def run(jobs: Sequence[Job], needs: Needs, progress: Progress) -> dict[Training, Outcome]:
    """Run jobs to their ends, as many at once as there is room for.

    A failure does not stop the jobs that need nothing of it. A job whose node or worker is lost
    goes on elsewhere from its last checkpoint. Whatever ends this function ends the trainings too.

    Args:
        jobs (Sequence[Job]): Those that have something left to do, the most urgent first; the job
            whose ticket another one loads comes before that.
        needs (Needs): What each needs.
        progress (Progress): Where to show them.

    Returns:
        dict[Training, Outcome]: The failed ones.

    Raises:
        ValueError: If no node has what a job needs.
    """
    ray = _ray()
    needs = settle(needs)
    call = uuid.uuid4().hex
    task = ray.remote(num_cpus=needs.cpus, num_gpus=needs.gpus, max_retries=needs.retries)(
        run_on_node
    )
    references: dict[Training | None, Any] = {}
    followers: dict[Any, Follower] = {}  # of the jobs that have not ended
    for job in jobs:
        parent = references.get(job.training.parent)  # an outcome by the time the job begins
        reference = task.options(name=job.training.name).remote(job, call, needs.cpus, parent)
        references[job.training] = reference
        followers[reference] = Follower(job, call, progress)
    overall = progress.add_task('all', total=len(jobs))
    failed: dict[Training, Outcome] = {}
    try:
        while followers:
            # one at a time and in their order: a job before those that load its ticket
            for reference in ray.wait(list(followers), timeout=0.5)[0]:
                follower = followers.pop(reference)
                outcome = _outcome(reference, follower.job.training, failed)
                if outcome.reason:
                    failed[follower.job.training] = outcome
                follower.end(outcome)
                progress.advance(overall)
            for follower in followers.values():
                follower.look()
    finally:
        if followers:
            for reference in followers:
                ray.cancel(reference, force=False)
            ray.wait(list(followers), num_returns=len(followers), timeout=GOODBYE)
    return failed


def _outcome(reference: Any, training: Training, failed: Mapping[Training, Outcome]) -> Outcome:
    """The outcome of a task that has ended, however it did."""
    ray = _ray()
    try:
        outcome: Outcome = ray.get(reference)
        return outcome
    except ray.exceptions.RayError as error:
        if training.parent in failed:  # a task gets the error of what it waits for
            return SKIPPED
        return Outcome(f'{type(error).__name__}: {str(error).strip()}')


class Follower:
    """Shows a job from the record and the log that it writes."""

    def __init__(self, job: Job, call: str, progress: Progress) -> None:
        self.job = job
        self._call = call
        self._progress = progress
        self._bar: TaskID | None = None
        self._attempt = 0

    def look(self) -> None:
        """Show how far it is."""
        training = self.job.training
        found = record.read(training.folder)
        if found is None or found.call != self._call:
            return
        if self._bar is None:
            self._bar = self._progress.add_task('', total=training.epochs)
        if found.attempt > self._attempt:
            newest = training.newest()
            start = f'goes on from {newest.name}' if newest else 'begins'
            lost = 'its node or worker was lost; ' if found.attempt > 1 else ''
            self._say(f'{training.name}: {lost}{start} on {found.node}')
            self._attempt = found.attempt
        text = f'{training.name}: {found.step} on {found.node}'
        self._progress.update(self._bar, description=text, completed=self._epochs(found.step))

    def end(self, outcome: Outcome) -> None:
        """Say how it has ended."""
        self.look()
        if self._bar is not None:
            self._progress.remove_task(self._bar)
        name, minutes = self.job.training.name, outcome.seconds / 60
        if not outcome.reason:
            self._say(f'{name}: done, {minutes:.1f} min')
        elif outcome != SKIPPED:
            self._say(f'{name}: failed after {minutes:.1f} min, {outcome.reason}', style='red')
        if outcome.log:
            lines = outcome.log.read_text(errors='replace').splitlines()
            self._say('\n'.join(lines[-TAIL:]))

    def _say(self, text: str, style: str = '') -> None:
        self._progress.console.print(text, markup=False, soft_wrap=True, style=style)

    def _epochs(self, step: str) -> float:
        """Epochs that are done, by the log."""
        training = self.job.training
        log = training.folder / 'train.txt'
        if step != 'train' or not log.is_file():
            return training.epochs
        with open(log, 'rb') as file:
            file.seek(max(log.stat().st_size - RECENT, 0))
            found = last_step(file.read().decode(errors='replace'))
        return found.epochs if found else 0


def bars(console: Console) -> Progress:
    """Progress of trainings, in epochs."""
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=console)
