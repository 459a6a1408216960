"""Latencies that `tools/benchmarks/latency.py` has measured, as tables."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .table import Table

PARTS = dict(conditions=dict, base=list, macs=dict, rows=list, compaction=dict, not_measured=list)
TIMES = ('cpu_median', 'cpu_p95', 'wall_median', 'wall_p95')


def read_latency(path: str | Path) -> dict[str, Any]:
    """Read the figures that ``latency.py --json`` has written.

    Args:
        path (str | Path): The file.

    Returns:
        dict: The figures, for :func:`latency_tables`.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not such a file.
    """
    error = ValueError(f'{path} does not hold the figures of latency.py --json')
    try:
        figures = json.loads(Path(path).read_text(encoding='utf-8'))
    except ValueError:  # no JSON, or no text
        raise error from None
    if not isinstance(figures, dict) or any(
        not isinstance(figures.get(name), kind) for name, kind in PARTS.items()
    ):
        raise error
    try:
        for table in latency_tables(figures):
            table.html()
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise error from None
    return figures


def latency_tables(figures: Mapping[str, Any], words: Mapping[str, str] = {}) -> list[Table]:
    """Lay out ratios, what more threads bring, what compaction finds, and milliseconds.

    Args:
        figures (Mapping): What latency.py has measured.
        words (Mapping[str, str]): What the runtimes are, in the order of their columns. Defaults
            to none, and the order in which they were measured.

    Returns:
        list[Table]: The tables.
    """
    rows, facts = figures['rows'], figures['conditions']
    ratio: dict[tuple[str, str], float] = {}
    for row in rows:  # the first number of threads
        ratio.setdefault((row['network'], row['runtime']), row['ratio'])
    measured = dict.fromkeys(row['runtime'] for row in rows)
    columns = [name for name in dict.fromkeys((*words, *measured)) if name in measured]
    networks = list(dict.fromkeys(row['network'] for row in rows))
    macs = figures['macs']
    height, width = facts['size']
    base = ' in '.join(figures['base'])
    notes = [
        ', '.join(f'{name} {value}' for name, value in facts.items() if name != 'size'),
        'A call that does not count comes before each that does. p95 is over the rounds.',
        *(f'{name}: {words[name]}' for name in columns if name in words),
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
    times = Table(
        ('', 'runtime', 'threads', 'process, median', 'p95', 'wall, median', 'p95'),
        tuple(
            (
                row['network'],
                row['runtime'],
                f'{row["threads"]}',
                *(f'{row[name]:.1f}' for name in TIMES),
            )
            for row in rows
        ),
        title='Milliseconds',
        notes=tuple(notes),
        text=frozenset({0, 1}),
    )
    return [ratios, *_more_threads(rows), *_left(figures['compaction']), times]


def _more_threads(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
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


def _left(compaction: Mapping[str, Any]) -> list[Table]:
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
