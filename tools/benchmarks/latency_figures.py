"""The figures of latencies: from seconds by round to plain values."""

import argparse
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from runtimes import versions


@dataclass(frozen=True)
class Pair:
    """A network in a runtime, on a number of threads."""

    network: str
    runtime: str
    threads: int
    run: Callable[[], object]


def summarize(pairs: list[Pair], rounds: list[list[tuple[float, ...]]], base: int) -> list[dict]:
    """Sum up the figures of each pair; times in milliseconds."""
    rows = []
    first: dict[tuple[str, str], int] = {}  # with the first number of threads
    for index, pair in enumerate(pairs):
        alone = first.setdefault((pair.network, pair.runtime), index)
        wall, cpu = (np.array([row[index][clock] for row in rounds]) * 1e3 for clock in (0, 1))
        rows.append(
            dict(
                network=pair.network,
                runtime=pair.runtime,
                threads=pair.threads,
                speedup=median(row[alone][0] / row[index][0] for row in rounds),
                ratio=median(row[index][1] / row[base][1] for row in rounds),
                cpu_median=float(np.median(cpu)),
                cpu_p95=float(np.percentile(cpu, 95)),
                wall_median=float(np.median(wall)),
                wall_p95=float(np.percentile(wall, 95)),
                cpu_rounds=cpu.tolist(),
            )
        )
    return rows


def conditions(options: argparse.Namespace, load: tuple[float, float]) -> dict[str, Any]:
    """Say what the figures were measured under."""
    return dict(
        size=list(options.size),
        batch_size=options.batch_size,
        threads=options.threads,
        rounds=options.rounds,
        dtype='float32',
        processor=processor(),
        cores=os.cpu_count(),
        load=[round(value, 1) for value in load],
        python=platform.python_version(),
        **versions(),
    )


def processor() -> str:
    """Name the processor, where the system tells it."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()
