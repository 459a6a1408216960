"""Timing variants against each other: in turn, so that a machine that slows down slows all."""

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter

import torch

STEPS = 2  # timed at a time, after one that is not

Arm = Callable[[], object]


def alternate(
    base: Arm, others: Sequence[Arm], rounds: int, clock: Callable[[], float] = perf_counter
) -> list[tuple[float, str]]:
    """Time arms in turn, every other round backwards.

    Args:
        base (Callable): What the others are compared with.
        others (Sequence[Callable]): The others.
        rounds (int): How often each is timed.
        clock (Callable): Seconds; ``time.process_time`` leaves out what else the machine does.
            Defaults to ``time.perf_counter``.

    Returns:
        list[tuple[float, str]]: Per other arm, the median over the rounds of its time over that
        of ``base``, and both medians in words.
    """
    arms = [base, *others]
    table = []
    for number in range(rounds):
        row = {}
        for index in range(len(arms))[:: -1 if number % 2 else 1]:
            row[index] = seconds_of(arms[index], clock)
        table.append(row)
    usual = median(row[0] for row in table)
    return [
        (
            median(row[index] / row[0] for row in table),
            f'{median(row[index] for row in table):.3f} s / {usual:.3f} s',
        )
        for index in range(1, len(arms))
    ]


def seconds_of(arm: Arm, clock: Callable[[], float] = perf_counter) -> float:
    """Time one call of an arm, after one that brings it back into the caches."""
    arm()
    synchronize()
    begin = clock()
    for _ in range(STEPS):
        arm()
    synchronize()
    return (clock() - begin) / STEPS


def synchronize() -> None:
    """Wait for what the GPU has been given to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
