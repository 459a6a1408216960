"""Measure what `import st_mm` takes, as a ratio to what is imported without it.

python tools/benchmarks/import_time.py --rounds 10
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

TIMED = """
from time import process_time
begin = process_time()
import {modules}
print(process_time() - begin)
"""
BASES = {  # what st_mm is compared with: what to import, the ratio that is the goal
    'mmseg': ('mmseg', 1.15),
    'mmseg and a Runner': ('mmseg, mmcv.cnn, mmengine.runner', 1.15),
}
HELP = """\
Seconds are those of the processor, in processes of their own that take turns; the first round,
which fills the disk's cache, does not count. `import mmseg` alone leaves out mmengine's Runner,
hooks and models, which every training, test and inference imports, and so does st_mm.
"""


def seconds(modules: str) -> float:
    """Import modules in a new process."""
    code = TIMED.format(modules=modules)
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def measure(rounds: int) -> list[dict]:
    """Import st_mm and what it is compared with in turn."""
    arms = {'st_mm': 'st_mm', **{name: modules for name, (modules, _) in BASES.items()}}
    table = [{name: seconds(modules) for name, modules in arms.items()} for _ in range(rounds + 1)]
    rows = []
    for name, (_, goal) in BASES.items():
        pairs = [(row['st_mm'], row[name]) for row in table[1:]]
        ours, theirs = (median(times) for times in zip(*pairs, strict=True))
        ratio = median(mine / other for mine, other in pairs)
        rows.append(dict(base=name, ratio=ratio, goal=goal, st_mm=ours, seconds=theirs))
    return rows


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description='Measure what `import st_mm` takes.',
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--rounds', type=int, default=10, metavar='N', help='(%(default)s)')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the figures to a file too')
    parser.add_argument('--force', action='store_true', help='overwrite FILE')
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error('--rounds must be 1 or more')
    from st_mm.files import check_output, write_atomically

    try:
        if options.json:
            check_output(options.json, force=options.force)
    except OSError as error:
        parser.error(str(error))
    rows = measure(options.rounds)
    table = Table('import st_mm, over that of', 'ratio', 'goal', 'st_mm', 'the other')
    for row in rows:
        figures = (f'{row["ratio"]:.2f}', f'{row["goal"]}', f'{row["st_mm"]:.2f} s')
        table.add_row(row['base'], *figures, f'{row["seconds"]:.2f} s')
    Console().print(table)
    if options.json:
        write_atomically(options.json, (json.dumps(rows, indent=1) + '\n').encode())
    return 0


if __name__ == '__main__':
    sys.exit(main())
