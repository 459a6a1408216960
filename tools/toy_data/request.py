"""Which set is asked for, and the processes that draw it."""

from __future__ import annotations

import multiprocessing
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

Kind = TypeVar('Kind', bound='Request')
SPLITS = ('train', 'val', 'test')


class SetError(Exception):
    """A folder that cannot take the set asked for; the message says why and what to do."""


@dataclass(frozen=True)
class Request:
    """Which set is asked for; a kind of set has its own version of the drawings.

    Args:
        train (int): Number of training images.
        val (int): Number of validation images.
        test (int): Number of test images.
        height (int): Rows of an image.
        width (int): Columns of an image.
        seed (int): Another seed makes another set.
        drawing (int): Version of the drawings; a change that alters any picture raises it.
            Defaults to 1.
    """

    train: int
    val: int
    test: int
    height: int
    width: int
    seed: int
    drawing: int = 1

    @classmethod
    def of(cls: type[Kind], options: Namespace) -> Kind:
        """Take a request from the command line."""
        counts = (options.train, options.val, options.test)
        return cls(*counts, *options.size, seed=options.seed)

    def images(self) -> Iterator[tuple[str, int]]:
        """Split and index of every image of the set."""
        for split in SPLITS:
            for index in range(getattr(self, split)):
                yield split, index


def in_processes(
    write: Callable[[Any], Any], jobs: Iterable[Any], workers: int, chunksize: int
) -> Iterator[Any]:
    """Run a function on all jobs, on several processes if asked to; yield in their order.

    Args:
        write (Callable): A function of a module, so that a process can import it.
        jobs (Iterable): What it is called with.
        workers (int): Processes.
        chunksize (int): Jobs that a process takes at a time.
    """
    jobs = list(jobs)
    if workers == 1:
        yield from map(write, jobs)
        return
    # A fresh interpreter for each worker: OpenCV's threads do not survive a fork.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        yield from pool.map(write, jobs, chunksize=chunksize)
