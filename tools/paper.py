"""Write docs/paper.md: every table and figure of the paper, its commands, and what they gave here.

python tools/paper.py
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from matrix import results
from matrix.training import ROOT
from paper_sections import SECTIONS, Section
from rich.console import Console

from st_mm.analysis.paper import RESULTS, Result, contradictions
from st_mm.analysis.table import Table
from st_mm.analysis.tradeoff import tradeoff_table
from st_mm.command_line import exit_code
from st_mm.files import write_atomically

PAGE = ROOT / 'docs' / 'paper.md'
RESULTS_FOLDER = ROOT / 'results'
READING = 'reading.md'  # beside results.json: what a person reads in them
COSTS = dict(params='params [M]', macs='MACs [M]')  # of a line of the paper, as columns
INTRODUCTION = """\
# The paper's tables and figures

Every table and figure of the paper (arXiv 2207.03677): what it shows, the command of the published
recipe, that on small data, and what came out here beside what the paper reports.
`python tools/paper.py` writes this page from the files in `results/` and from the paper's figures
in `st_mm/analysis/paper.py`; a test compares them.

There is no machine here for the published recipes: they have not been trained to the end. Small
data are CamVid, Tiny-ImageNet-20 and LSP Extended, which anyone can have, and drawn sets. Their
scores cannot be compared with the paper's as numbers; their order can.

`run_matrix.py` starts one process per training. The published batch on Cityscapes is 8 GPUs times 4
pictures; where one GPU holds them, `--cfg-options train_dataloader.batch_size=32` gives the same.
Matrices are there for Cityscapes and small data; those of the paper on ADE20K, ImageNet and COCO
are not, but their recipes are (Tables 3 to 6).
"""


def page() -> str:
    """Write the page as Markdown."""
    return '\n'.join([INTRODUCTION, *map(_section, SECTIONS), _took()])


def _section(section: Section) -> str:
    parts = [f'## {section.name}', section.shows]
    for title, commands in (('Published recipe', section.published), ('Small data', section.small)):
        lines = '\n'.join(commands)
        parts.append(f'{title}:\n\n```shell\n{lines}\n```' if lines else f'{title}: none yet.')
    found = {name: _matrix(RESULTS_FOLDER / name) for name in section.results}
    parts += [text for text in found.values() if text]
    missing = [name.partition('/')[0] for name, text in found.items() if not text]
    if not any(found.values()):
        parts.append('Here: not run.' + section.instead)
    elif missing:
        parts.append(f'Not run here: {", ".join(missing)}.{section.instead}')
    if section.tables:
        parts.append(_paper(section.tables))
    return '\n\n'.join(parts) + '\n'


def _matrix(folder: Path) -> str:
    """What one matrix gave here; empty if it has not been run."""
    file = folder / results.NAME
    if not file.is_file():
        return ''
    found = results.read(file)
    table = tradeoff_table(*results.measured(found))
    where = folder.relative_to(ROOT)
    reading = (folder / READING).read_text(encoding='utf-8').strip()
    return '\n\n'.join(
        [
            f'Here, `{found["matrix"]}`: {results.summary(found)}.',
            table.markdown().strip(),
            f'![scores over nonzero MACs](../{where}/tradeoff.png)',
            reading,
        ]
    )


def _took() -> str:
    """How long the trainings of all matrices took."""
    seen: set[str] = set()
    rows, total = [], 0.0
    for file in sorted(RESULTS_FOLDER.glob(f'*/*/{results.NAME}')):
        trainings = results.read(file)['trainings'].values()
        took = {json.dumps(each, sort_keys=True): results.minutes(each) for each in trainings}
        hours = sum(value for key, value in took.items() if key not in seen) / 60
        name, shared = file.parent.relative_to(RESULTS_FOLDER).as_posix(), len(seen & took.keys())
        limits = f'{min(took.values()):.1f} to {max(took.values()):.1f}' if took else ''
        rows.append((name, f'{len(took)}', f'{shared}', limits, f'{hours:.1f}'))
        seen |= took.keys()
        total += hours
    rows.append(('all', f'{len(seen)}', '', '', f'{total:.1f}'))
    table = Table(
        ('results', 'trainings', 'had before', 'minutes each', 'hours'),
        tuple(rows),
        notes=(
            'minutes of the clock, with the test; a training of an earlier line is not counted '
            'again; `results.json` has each training with its commit, seed and machine',
        ),
    )
    return f'## What it took\n\n{table.markdown().strip()}\n'


def _paper(tables: tuple[int, ...]) -> str:
    """The paper's own lines of some tables."""
    return '\n\n'.join(
        f'The paper, Table {number}:\n\n{_lines(number).markdown().strip()}' for number in tables
    )


def _lines(number: int) -> Table:
    lines = [result for result in RESULTS if result.table == number]
    names = list(dict.fromkeys(name for line in lines for name in line.scores))
    costs = [cost for cost in COSTS if any(getattr(line, cost) for line in lines)]
    rows = tuple(
        (
            line.dataset,
            line.method + (f', ticket of {line.origin}' if line.origin else ''),
            '' if line.ratio is None else f'{line.ratio:g}',
            *(_millions(getattr(line, cost)) for cost in costs),
            *(_figure(line, name) for name in names),
        )
        for line in lines
    )
    header = ('data', 'method', 'p', *(COSTS[cost] for cost in costs), *names)
    return Table(header, rows, text=frozenset({0, 1}), notes=tuple(_elsewhere(number)))


def _elsewhere(number: int) -> Iterator[str]:
    """Say where another table of the paper has other scores of a line."""
    for pair in contradictions():
        for line, other in (pair, pair[::-1]):
            if line.table == number:
                scores = ', '.join(f'{name} {_figure(other, name)}' for name in other.scores)
                yield f'{line.method} on {line.dataset}: Table {other.table} has {scores}'


def _millions(cost: float | None) -> str:
    return f'{cost / 1e6:g}' if cost else ''


def _figure(line: Result, name: str) -> str:
    return f'{line.scores[name]:g}' if name in line.scores else ''


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Write docs/paper.md from the files in results/. A matrix comes in when its '
        'results.json, tradeoff.png and reading.md stand in results/DATASET/MATRIX.',
        epilog='Exit codes: 0 done, 1 with --check the page is not up to date, 2 wrong arguments.',
    )
    parser.add_argument(
        '--check', action='store_true', help='write nothing; fail if the page is another'
    )
    return parser.parse_args()


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse()
    console = Console(soft_wrap=True)
    text = page()
    if options.check:
        if PAGE.read_text(encoding='utf-8') == text:
            return 0
        console.print(f'{PAGE.relative_to(ROOT)} is not what results/ say: run tools/paper.py')
        return 1

    def write() -> None:
        write_atomically(PAGE, text.encode())
        console.print(f'wrote {PAGE.relative_to(ROOT)}')

    return exit_code(write)


if __name__ == '__main__':
    sys.exit(main())
