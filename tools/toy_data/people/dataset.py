"""A whole set: pictures, annotations, and a folder that appears only when it is complete."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from toy_data.people.body import KEYPOINTS, SKELETON
from toy_data.people.scene import draw_scene
from toy_data.request import SPLITS, SetError, in_processes
from toy_data.request import Request as AnyRequest

MANIFEST = 'toy_people.json'
CATEGORY = {
    'id': 1,
    'name': 'person',
    'supercategory': 'person',
    'keypoints': KEYPOINTS,
    'skeleton': SKELETON,
}
DRAWING = 1
"""Version of the drawings; a change that alters any picture raises it."""


@dataclass(frozen=True)
class Request(AnyRequest):
    """Which set of people is asked for."""

    drawing: int = DRAWING


def write_image(job: tuple[Request, Path, str, int]) -> list[dict]:
    """Draw one image, which depends on nothing but seed, split, index and size, and write it.

    Args:
        job (tuple): Request, folder, split, index.

    Returns:
        list[dict]: The annotations of its people, without ids.
    """
    request, root, split, index = job
    cv2.setNumThreads(1)  # one process, one core: the pool decides how many work
    rng = np.random.default_rng([request.seed, SPLITS.index(split), index])
    picture, people = draw_scene(rng, (request.height, request.width))
    cv2.imwrite(str(root / 'images' / split / file_name(index)), picture[..., ::-1])
    return people


def file_name(index: int) -> str:
    """Name of an image in the folder of its split."""
    return f'{index:06d}.png'


def already_there(request: Request, root: Path, force: bool) -> bool:
    """Whether a folder holds a set; an absent or empty one, or another set to replace, does not.

    Args:
        request (Request): The set.
        root (Path): The folder; need not exist.
        force (bool): Whether a toy set in the folder may be replaced.

    Raises:
        SetError: If the folder holds anything that this tool did not make, or another toy set and
            ``force`` is not given.
    """
    if root.exists() and not root.is_dir():
        raise SetError(f'{root} is a file, not a folder')
    if not root.is_dir() or not any(root.iterdir()):
        return False
    try:
        found = json.loads((root / MANIFEST).read_text())
    except FileNotFoundError:
        raise SetError(
            f'{root} is not empty and holds no {MANIFEST}; choose another folder'
        ) from None
    except ValueError as error:
        raise SetError(f'{root / MANIFEST} is not readable as JSON: {error}') from error
    if found != asdict(request) and not force:
        raise SetError(f'{root} holds another toy set; --force replaces it')
    return not force


def write_set(request: Request, root: Path, workers: int) -> Iterator[int]:
    """Draw a whole set beside its folder, and move it there in the end.

    Args:
        request (Request): The set.
        root (Path): Its folder, absent, empty, or a set to replace.
        workers (int): Processes that draw.

    Yields:
        int: Number of people in the next image.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{root.name}.', dir=root.parent) as folder:
        unfinished = Path(folder) / root.name
        for split in SPLITS:
            (unfinished / 'images' / split).mkdir(parents=True)
        (unfinished / 'annotations').mkdir()
        drawn: dict[str, list[list[dict]]] = {split: [] for split in SPLITS}
        jobs = [(request, unfinished, split, index) for split, index in request.images()]
        drawing = in_processes(write_image, jobs, workers, chunksize=8)
        for (split, _), people in zip(request.images(), drawing, strict=True):
            drawn[split].append(people)
            yield len(people)
        for split, images in drawn.items():
            path = unfinished / 'annotations' / f'person_keypoints_{split}.json'
            path.write_text(json.dumps(annotations(request, images)))
        (unfinished / MANIFEST).write_text(json.dumps(asdict(request), indent=2) + '\n')
        if root.exists():
            shutil.rmtree(root)
        unfinished.rename(root)


def annotations(request: Request, images: list[list[dict]]) -> dict:
    """The annotation file of a split; ids count from 1."""
    people = [
        {'image_id': image, **person}
        for image, found in enumerate(images, start=1)
        for person in found
    ]
    return {
        'info': {'description': 'toy people', **asdict(request)},
        'images': [
            {
                'id': index + 1,
                'file_name': file_name(index),
                'height': request.height,
                'width': request.width,
            }
            for index in range(len(images))
        ],
        'annotations': [{'id': number, **person} for number, person in enumerate(people, start=1)],
        'categories': [CATEGORY],
    }
