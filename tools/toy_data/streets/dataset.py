"""A whole set: the names of its images, the files, and the manifest that says what it is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from toy_data.request import SPLITS, SetError, in_processes
from toy_data.request import Request as AnyRequest
from toy_data.streets.scene import STYLES, draw_scene

MANIFEST = 'toy_streets.json'
UNFINISHED = 'toy_streets.json.part'
FOLDERS = ('leftImg8bit', 'gtFine')

DRAWING = 1
"""Version of the drawings; a change that alters any picture raises it."""


@dataclass(frozen=True)
class Request(AnyRequest):
    """Which set of streets is asked for."""

    drawing: int = DRAWING


def paths(root: Path, split: str, index: int) -> tuple[Path, Path]:
    """Where an image and its labels lie, by the naming of Cityscapes.

    Districts take turns, so that each has its share in a set of any size.
    """
    city = list(STYLES)[index % len(STYLES)]
    name = f'{city}_{index:06d}_000000'
    return (
        root / 'leftImg8bit' / split / city / f'{name}_leftImg8bit.png',
        root / 'gtFine' / split / city / f'{name}_gtFine_labelTrainIds.png',
    )


def draw(request: Request, split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one image of a set; it depends on nothing but seed, split, index and size.

    Returns:
        tuple[np.ndarray, np.ndarray]: RGB image ``(h, w, 3)`` and trainIds ``(h, w)``, both uint8.
    """
    rng = np.random.default_rng([request.seed, SPLITS.index(split), index])
    district = list(STYLES)[index % len(STYLES)]
    return draw_scene(rng, district, (request.height, request.width))


def write(job: tuple[Request, Path, str, int]) -> np.ndarray:
    """Draw one image and write both its files.

    Args:
        job (tuple): Request, root of the set, split, index.

    Returns:
        np.ndarray: ``(256,)`` pixels by label.
    """
    request, root, split, index = job
    cv2.setNumThreads(1)  # one process, one core: the pool decides how many work
    image, labels = draw(request, split, index)
    for path, pixels in zip(paths(root, split, index), (image[..., ::-1], labels), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        _, data = cv2.imencode('.png', pixels)
        replace(path, data.tobytes())
    return np.bincount(labels.ravel(), minlength=256)


def write_set(request: Request, root: Path, workers: int) -> Iterator[np.ndarray]:
    """Draw all images of a set, on several processes if asked to; yield pixels by label."""
    jobs = [(request, root, split, index) for split, index in request.images()]
    return in_processes(write, jobs, workers, chunksize=4)


def claim(request: Request, root: Path, force: bool) -> dict | None:
    """Make a folder ready for a set, or find that the set is there.

    Args:
        request (Request): The set.
        root (Path): The folder; need not exist.
        force (bool): Whether another toy set in the folder may be deleted.

    Returns:
        dict | None: The manifest if the whole set is already there, else None.

    Raises:
        SetError: If the folder holds anything that this tool did not make, or another toy set and
            ``force`` is not given.
    """
    if root.exists() and not root.is_dir():
        raise SetError(f'{root} is a file, not a folder')
    found = read_manifest(root)
    if found is None and root.is_dir() and any(root.iterdir()):
        raise SetError(f'{root} is not empty and holds no {MANIFEST}; choose another folder')
    if found is not None:
        same = {key: found.get(key) for key in asdict(request)} == asdict(request)
        if not same and not force:
            raise SetError(f'{root} holds another toy set; --force replaces it')
        if same and not force and (root / MANIFEST).is_file() and complete(request, root):
            return found
    root.mkdir(parents=True, exist_ok=True)
    # From here to `finish` the folder counts as unfinished, whatever happens.
    replace(root / UNFINISHED, json.dumps(asdict(request), indent=2).encode())
    (root / MANIFEST).unlink(missing_ok=True)
    if found is not None and force:
        for folder in FOLDERS:
            shutil.rmtree(root / folder, ignore_errors=True)
    for folder in FOLDERS:
        for split in SPLITS:
            (root / folder / split).mkdir(parents=True, exist_ok=True)
    return None


def read_manifest(root: Path) -> dict | None:
    """The manifest of a finished or unfinished set in a folder, None if there is neither."""
    for name in (MANIFEST, UNFINISHED):
        if (root / name).is_file():
            try:
                found = json.loads((root / name).read_text())
            except ValueError as error:
                raise SetError(f'{root / name} is not readable as JSON: {error}') from error
            if not isinstance(found, dict) or 'drawing' not in found:
                raise SetError(f'{root / name} is not a manifest of this tool')
            return found
    return None


def complete(request: Request, root: Path) -> bool:
    """Whether every file of a set is there."""
    return all(path.is_file() for image in request.images() for path in paths(root, *image))


def finish(request: Request, root: Path, pixels: np.ndarray) -> dict:
    """Write the manifest, the last file of a set: a folder that has it is complete.

    Args:
        request (Request): The set.
        root (Path): Its folder.
        pixels (np.ndarray): ``(256,)`` pixels by label.

    Returns:
        dict: The manifest.
    """
    counts = {str(label): int(pixels[label]) for label in np.flatnonzero(pixels)}
    manifest = {**asdict(request), 'pixels': counts}
    replace(root / MANIFEST, (json.dumps(manifest, indent=2) + '\n').encode())
    (root / UNFINISHED).unlink(missing_ok=True)
    return manifest


def replace(path: Path, data: bytes) -> None:
    """Write a file in one step: nobody ever sees half of it."""
    partial = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
