"""Compare the networks of the paper's tables: parameters and MACs by our counter, and published.

python tools/analysis/compare_models.py
"""

import argparse
import contextlib
import io
import json
import sys
import warnings
from pathlib import Path

from rich.console import Console

import st_mm  # noqa: F401  # registers the models, applies the runtime fixes
from st_mm.analysis.plots import save_figure
from st_mm.analysis.reference import (
    TASKS,
    compare_models,
    plot_reference,
    reference_table,
)
from st_mm.files import check_output, write_atomically


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Build the reference networks of each task from the configs of mmpretrain, '
        'mmseg, mmpose and st_mm, count their parameters and MACs (multiply-adds, auxiliary heads '
        'left out), and list them next to what was published. Nothing is downloaded.',
        epilog='example: python tools/analysis/compare_models.py --task cityscapes --plot '
        'cityscapes.png. Exit codes: 0 done, 1 a file could not be written, 2 wrong arguments or '
        'a network that cannot be counted.',
    )
    parser.add_argument(
        '--task', choices=TASKS, nargs='+', default=list(TASKS), help='(all of them)'
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the figures to a file too')
    parser.add_argument(
        '--markdown', type=Path, metavar='FILE', help='write the tables in Markdown too'
    )
    parser.add_argument(
        '--plot', type=Path, metavar='PNG', help='draw the scores of one task over MACs'
    )
    parser.add_argument('--force', action='store_true', help='overwrite files')
    options = parser.parse_args(arguments)
    try:
        for path in filter(None, (options.json, options.markdown, options.plot)):
            check_output(path, force=options.force)
    except OSError as error:
        parser.error(str(error))
    if options.plot and len(options.task) > 1:
        parser.error('--plot draws one task: say which with --task')
    return options


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse()
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    try:
        compared = {}
        for name in options.task:
            # what mm says while it builds a model
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter('ignore')
                compared[name] = compare_models(TASKS[name])
            console.print(reference_table(TASKS[name], compared[name]).terminal())
        write(options, compared)
    except (ValueError, FileNotFoundError) as error:
        print(f'error: {str(error).splitlines()[0]}', file=sys.stderr)
        return 2
    except OSError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


def write(options: argparse.Namespace, compared: dict) -> None:
    """Write the files that were asked for."""
    if options.json:
        plain = {
            name: dict(
                title=TASKS[name].title,
                input_shape=TASKS[name].input_shape,
                metric=TASKS[name].metric,
                rows=[row.to_dict() for row in rows],
            )
            for name, rows in compared.items()
        }
        write_atomically(options.json, (json.dumps(plain, indent=2) + '\n').encode())
    if options.markdown:
        tables = [reference_table(TASKS[name], rows).markdown() for name, rows in compared.items()]
        write_atomically(options.markdown, '\n'.join(tables).encode())
    if options.plot:
        [(name, rows)] = compared.items()
        save_figure(plot_reference(TASKS[name], rows), options.plot)


if __name__ == '__main__':
    sys.exit(main())
