"""Timing variants in turn, so that a machine that slows down for a while slows all of them."""

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter

import torch

STEPS = 2  # calls that are timed together, after one that is not timed

Arm = Callable[[], object]


def alternate(
    base: Arm, others: Sequence[Arm], rounds: int, clock: Callable[[], float] = perf_counter
) -> list[tuple[float, str]]:
    """Time variants in turn, in every other round backwards.

    Args:
        base (Callable): The variant with which the others are compared.
        others (Sequence[Callable]): The other variants.
        rounds (int): How often each is timed.
        clock (Callable): Gives seconds; ``time.process_time`` leaves out other processes.
            Defaults to ``time.perf_counter``.

    Returns:
        list[tuple[float, str]]: For each other variant, the median over the rounds of its time
        divided by that of ``base``, and both medians in words.
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
    """Time one call of a variant, after a call that fills the caches."""
    arm()
    synchronize()
    begin = clock()
    for _ in range(STEPS):
        arm()
    synchronize()
    return (clock() - begin) / STEPS


def synchronize() -> None:
    """Wait until the GPU has done its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
