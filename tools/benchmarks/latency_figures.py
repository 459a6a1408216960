"""The figures of latencies: from seconds by round to tables."""

import argparse
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from runtimes import RUNTIMES, versions

from st_mm.analysis.table import Table


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


def tables(figures: dict) -> list[Table]:
    """Lay out ratios first, then milliseconds."""
    rows, facts = figures['rows'], figures['conditions']
    ratio: dict[tuple[str, str], float] = {}
    for row in rows:  # the first number of threads
        ratio.setdefault((row['network'], row['runtime']), row['ratio'])
    columns = [n for n in RUNTIMES if any(row['runtime'] == n for row in rows)]
    networks = list(dict.fromkeys(row['network'] for row in rows))
    macs = figures['macs']
    height, width = facts['size']
    base = ' in '.join(figures['base'])
    notes = [
        ', '.join(f'{name} {value}' for name, value in facts.items() if name != 'size'),
        'A call that does not count comes before each that does. p95 is over the rounds.',
        *(f'{name}: {RUNTIMES[name].words}' for name in columns),
        *figures['not_measured'],
    ]
    ratios = Table(
        ('', 'GMACs', 'nonzero', *columns),
        tuple(
            (
                name,
                *(f'{macs[name][kind] / 1e9:.2f}' for kind in ('structural', 'nonzero')),
                *(f'{ratio[name, c]:.2f}' if (name, c) in ratio else '-' for c in columns),
            )
            for name in networks
        ),
        title=f'Process time over that of {base}, {height}x{width}',
    )
    names = ('cpu_median', 'cpu_p95', 'wall_median', 'wall_p95')
    times = Table(
        ('', 'runtime', 'threads', 'process, median', 'p95', 'wall, median', 'p95'),
        tuple(
            (
                row['network'],
                row['runtime'],
                f'{row["threads"]}',
                *(f'{row[name]:.1f}' for name in names),
            )
            for row in rows
        ),
        title='Milliseconds',
        notes=tuple(notes),
        text=frozenset({0, 1}),
    )
    return [ratios, *more_threads(rows), *left(figures['compaction']), times]


def more_threads(rows: list[dict]) -> list[Table]:
    """Lay out what more threads bring, where there are several numbers of them."""
    counts = list(dict.fromkeys(row['threads'] for row in rows))
    if len(counts) == 1:
        return []
    speedups: dict[tuple[str, str], dict[int, str]] = {}
    for row in rows:
        found = speedups.setdefault((row['network'], row['runtime']), {})
        found[row['threads']] = f'{row["speedup"]:.2f}'
    return [
        Table(
            ('', 'runtime', *(f'{count} threads' for count in counts)),
            tuple(
                (*pair, *(found.get(count, '-') for count in counts))
                for pair, found in speedups.items()
            ),
            title=f'Faster than on {counts[0]} by',
            text=frozenset({0, 1}),
        )
    ]


def left(compaction: dict[str, dict]) -> list[Table]:
    """Lay out what compaction has found in each network: without it no ratio says much."""
    if not compaction:
        return []
    counts = ('units', 'dead', 'frame', 'weights_before', 'weights_after')
    rows = tuple(
        (name, *(f'{found[count]:,}' for count in counts)) for name, found in compaction.items()
    )
    empty = [name for name, found in compaction.items() if 0 < found['units'] == found['dead']]
    return [
        Table(
            ('', 'hidden units', 'dead', 'frames', 'nonzero weights', 'after compaction'),
            rows,
            title='What compaction finds',
            notes=(
                'Frames are constant but for the borders, and stay.',
                *(
                    f'{name}: every hidden unit is dead, so its times say nothing about a ticket'
                    for name in empty
                ),
            ),
        )
    ]
