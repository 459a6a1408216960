"""A whole set: the names of its pictures, the files, and the manifest that says what it is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from toy_data.request import SPLITS, SetError, in_processes
from toy_data.request import Request as AnyRequest
from toy_data.shapes.outlines import KINDS
from toy_data.shapes.picture import draw

MANIFEST = 'toy_shapes.json'
UNFINISHED = '.unfinished'

DRAWING = 1
"""Version of the drawings; a change that alters any picture raises it."""


@dataclass(frozen=True)
class Request(AnyRequest):
    """Which set of shapes is asked for."""

    drawing: int = DRAWING

    def manifest(self) -> dict:
        """What is written beside the pictures."""
        return {**asdict(self), 'classes': list(KINDS)}


def kind_of(index: int) -> str:
    """Kinds take turns, so that each has its share in a set of any size."""
    return list(KINDS)[index % len(KINDS)]


def path_of(split: str, index: int) -> Path:
    """Where a picture lies in its set: a folder for each kind, as ImageNet has them."""
    kind = kind_of(index)
    return Path(split, kind, f'{kind}_{index:06d}.png')


def write(job: tuple[Request, Path, str, int]) -> None:
    """Draw one picture, which depends on nothing but seed, split, index and size.

    Args:
        job (tuple): Request, folder of the set, split, index.
    """
    request, folder, split, index = job
    cv2.setNumThreads(1)  # one process, one core: the pool decides how many work
    rng = np.random.default_rng([request.seed, SPLITS.index(split), index])
    picture = draw(rng, kind_of(index), (request.height, request.width))
    _, data = cv2.imencode('.png', picture[..., ::-1])
    (folder / path_of(split, index)).write_bytes(data.tobytes())


def write_set(request: Request, root: Path, workers: int) -> Iterator[None]:
    """Draw a set into a folder that stays as it is until all is drawn; yield at each picture.

    Args:
        request (Request): The set.
        root (Path): Its folder, as `claim` has left it.
        workers (int): Processes that draw.
    """
    with _building(root) as folder:
        for split in SPLITS:
            for kind in KINDS:
                (folder / split / kind).mkdir(parents=True)
        jobs = [(request, folder, split, index) for split, index in request.images()]
        yield from in_processes(write, jobs, workers, chunksize=16)
        (folder / MANIFEST).write_text(json.dumps(request.manifest(), indent=2) + '\n')


@contextmanager
def _building(root: Path) -> Iterator[Path]:
    """A folder whose content moves to ``root`` if all goes well, and vanishes if not."""
    new = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    folder = root / UNFINISHED
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
        (root / MANIFEST).unlink(missing_ok=True)
        for name in (*SPLITS, MANIFEST):
            shutil.rmtree(root / name, ignore_errors=True)
            os.replace(folder / name, root / name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if new and not any(root.iterdir()):
            root.rmdir()


def claim(request: Request, root: Path, force: bool) -> bool:
    """Find out whether a folder can take a set.

    Args:
        request (Request): The set.
        root (Path): The folder; need not exist.
        force (bool): Whether a toy set in the folder may be replaced.

    Returns:
        bool: Whether the whole set is there already.

    Raises:
        SetError: If the folder holds anything that this tool did not make, or another toy set and
            ``force`` is not given.
    """
    if root.exists() and not root.is_dir():
        raise SetError(f'{root} is a file, not a folder')
    names = {path.name for path in root.iterdir()} if root.is_dir() else set()
    if MANIFEST not in names:
        if names - {UNFINISHED}:
            raise SetError(f'{root} is not empty and holds no {MANIFEST}; choose another folder')
        return False
    try:
        found = json.loads((root / MANIFEST).read_text())
    except ValueError as error:
        raise SetError(f'{root / MANIFEST} is not readable as JSON: {error}') from error
    if force:
        return False
    if found != request.manifest():
        raise SetError(f'{root} holds another toy set; --force replaces it')
    return all((root / path_of(*picture)).is_file() for picture in request.images())
