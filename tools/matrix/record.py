"""The record of a training: where and with what it ran, and how far it is; ``run.json``."""

import json
import os
import platform
import subprocess
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .training import ROOT

NAME = 'run.json'
PACKAGES = (
    *('st_mm', 'torch', 'torchvision', 'mmengine', 'mmcv', 'mmcv-lite', 'mmsegmentation'),
    *('mmpretrain', 'mmpose', 'numpy', 'ray'),
)


def note(path: Path, text: str) -> None:
    """Write a small file in one go: who reads it meanwhile gets the old text or the new one."""
    partial = path.with_name(f'.{path.name}.{os.getpid()}.part')
    partial.write_text(text)
    os.replace(partial, path)


@dataclass
class Record:
    """How a training ran; written while it runs, so that its progress can be followed.

    Attributes:
        call (str): The call of the tool that ran it last.
        node (str): Where it runs, or ran last.
        attempt (int): Times that this call has begun it: more than one where nodes were lost.
        step (str): What it does now; empty once it is done.
        machine (dict): ``cpu``, ``cpus`` (of the machine), ``cpus_per_job`` and ``gpus``, the names
            of the GPUs it has got.
        versions (dict[str, str]): Of Python and of the packages that training needs.
        commit (str, optional): Of the checkout; None where there is none.
        changed (bool, optional): Whether files of that commit were changed.
        seconds (dict[str, float]): Wall time by step, all attempts and calls together.
    """

    call: str
    node: str
    attempt: int
    step: str
    machine: dict[str, Any]
    versions: dict[str, str]
    commit: str | None
    changed: bool | None
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def begin(cls, folder: Path, call: str, node: str, cpus: float, visible: str) -> 'Record':
        """Begin the record of a training, or go on with the one it has."""
        before = read(folder)
        return cls(
            call=call,
            node=node,
            attempt=before.attempt + 1 if before and before.call == call else 1,
            step='',
            machine=machine(cpus, visible),
            versions=versions(),
            **checkout(),
            seconds=before.seconds if before else {},
        )

    def write(self, folder: Path) -> None:
        """Write it into the folder of the training."""
        note(folder / NAME, json.dumps(asdict(self), indent=2) + '\n')


def read(folder: Path) -> Record | None:
    """Read the record of a training; None where there is none."""
    path = folder / NAME
    return Record(**json.loads(path.read_text())) if path.is_file() else None


def machine(cpus: float, visible: str) -> dict[str, Any]:
    """Say what machine this is, and what of it a job has got.

    Args:
        cpus (float): CPUs of the job.
        visible (str): GPUs of the job, as ``CUDA_VISIBLE_DEVICES`` names them.
    """
    return dict(
        cpu=_cpu_name(),
        cpus=len(os.sched_getaffinity(0)),
        cpus_per_job=cpus,
        gpus=_gpu_names(visible) if visible else [],
    )


def _cpu_name() -> str:
    info = Path('/proc/cpuinfo')
    lines = info.read_text(encoding='utf-8').splitlines() if info.is_file() else []
    names = (line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    return next(names, platform.processor() or platform.machine())


def _gpu_names(visible: str) -> list[str]:
    """Names of GPUs, without a context on any of them."""
    command = ['nvidia-smi', '--query-gpu=name', '--format=csv,noheader', f'--id={visible}']
    try:
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return [f'unknown GPU {number}' for number in visible.split(',')]
    return shown.splitlines()


def versions() -> dict[str, str]:
    """Versions of what training needs, of those that are installed."""
    found = dict(python=platform.python_version())
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def checkout() -> dict[str, Any]:
    """Commit of this checkout, and whether its files were changed; None where it is not one."""
    try:
        commit = _git('rev-parse', 'HEAD').strip()
        changed = bool(_git('status', '--porcelain', '--untracked-files=no'))
    except (OSError, subprocess.CalledProcessError):
        return dict(commit=None, changed=None)
    return dict(commit=commit, changed=changed)


def _git(*words: str) -> str:
    command = ['git', '-C', str(ROOT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class Stopwatch:
    """Adds up the wall time of a step in a record, also of one that is cut off."""

    def __init__(self, record: Record, folder: Path, step: str, every: float = 5.0) -> None:
        self._record, self._folder, self._step, self._every = record, folder, step, every
        self._before = record.seconds.get(step, 0.0)
        self._begin = self._noted = time.monotonic()
        record.step = step
        self.note()

    def tick(self) -> None:
        """Write the record if that was long ago."""
        if time.monotonic() - self._noted >= self._every:
            self.note()

    def note(self) -> None:
        """Write the record now."""
        self._noted = time.monotonic()
        seconds = self._before + self._noted - self._begin
        self._record.seconds[self._step] = round(seconds, 1)
        self._record.write(self._folder)
