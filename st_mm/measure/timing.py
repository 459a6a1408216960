"""Timing variants in turn, so that a machine that slows down for a while slows all of them."""

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter, process_time

import torch

STEPS = 2  # calls that are timed together, after one that is not timed

Arm = Callable[[], object]
Clock = Callable[[], float]


def alternate(
    base: Arm, others: Sequence[Arm], rounds: int, clock: Clock = perf_counter
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
    table = [
        [seconds for (seconds,) in row]
        for row in take_turns([base, *others], rounds, (clock,), STEPS)
    ]
    usual = median(row[0] for row in table)
    return [
        (
            median(row[index] / row[0] for row in table),
            f'{median(row[index] for row in table):.3f} s / {usual:.3f} s',
        )
        for index in range(1, len(others) + 1)
    ]


def take_turns(
    arms: Sequence[Arm],
    rounds: int,
    clocks: Sequence[Clock] = (perf_counter, process_time),
    steps: int = 1,
) -> list[list[tuple[float, ...]]]:
    """Time variants in turn, in every other round backwards.

    Args:
        arms (Sequence[Callable]): The variants.
        rounds (int): How often each is timed.
        clocks (Sequence[Callable]): Each gives seconds. Defaults to those of the wall and of the
            process, the latter summed over its threads.
        steps (int): Calls that are timed together, after one that is not timed. Defaults to 1.

    Returns:
        list[list[tuple[float, ...]]]: Seconds of a call, by round, variant and clock.
    """
    table = []
    for number in range(rounds):
        row: dict[int, tuple[float, ...]] = {}
        for index in range(len(arms))[:: -1 if number % 2 else 1]:
            row[index] = seconds_of(arms[index], clocks, steps)
        table.append([row[index] for index in range(len(arms))])
    return table


def seconds_of(
    arm: Arm, clocks: Sequence[Clock] = (perf_counter,), steps: int = STEPS
) -> tuple[float, ...]:
    """Time one call of a variant by each clock, after a call that fills the caches."""
    arm()
    synchronize()
    begin = [clock() for clock in clocks]
    for _ in range(steps):
        arm()
    synchronize()
    return tuple((clock() - start) / steps for clock, start in zip(clocks, begin, strict=True))


def synchronize() -> None:
    """Wait until the GPU has done its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
