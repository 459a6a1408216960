"""Measure how long networks take in the runtimes at hand: PyTorch, ONNX Runtime, OpenVINO, ours.

python tools/benchmarks/latency.py work_dirs/NAME/epoch_430.pth --size 512x1024 --stock all
"""

import argparse
import itertools
import json
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_WAIT_POLICY', 'passive')  # before torch and the engine start threads

import numpy as np
import torch
from latency_figures import Pair, conditions, summarize
from networks import STOCK, Network, of_checkpoint, of_config, of_stock
from rich.console import Console
from runtimes import RUNTIMES, Missing
from train_step import image_size, number

import st_mm  # noqa: F401 - registers the models, applies the runtime fixes
from st_mm.analysis.latency import latency_tables
from st_mm.files import check_output, write_atomically
from st_mm.measure import count_macs
from st_mm.measure.timing import take_turns
from st_mm.printable import printable

SIZE = (512, 1024)
ROWS = ['supernet', 'searched', 'ticket']
TOLERANCE = 1e-2  # of the largest output: another network differs by more, rounding by less
USUAL = [name for name in RUNTIMES if name != 'compile']
HELP = f"""\
rows:
  CKPT          supernet, searched and ticket; the first two with drawn weights
  CONFIG        supernet and ticket, the ticket with a drawn share of zeros (--zeros): a smoke form
  --stock       networks of mmseg with drawn weights: {', '.join(STOCK)};
                or any mm config as library::path

columns:
{chr(10).join(f'  {name:<14}{runtime.words}' for name, runtime in RUNTIMES.items())}

Every pair runs in this one process, in turn, in every other round backwards, each time after a call
that does not count. A ratio is the median over the rounds. Times are those of the process, summed
over its threads, which another program disturbs least; those of the wall stand beside them. Before
it is timed, every form is compared with PyTorch. All is float32; a picture is noise, normalized,
and the outputs are those of the head.

Exit codes: 0 done, 1 a file could not be written, 2 wrong arguments, or a network that cannot be
built.
"""


def share(text: str) -> float:
    """Read a share of weights: from 0, below 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not a share from 0 to below 1')
    return value


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Measure how long networks take, side by side.',
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('source', nargs='?', type=Path, metavar='CKPT|CONFIG')
    parser.add_argument('--zeros', type=share, default=0.9, help='of a CONFIG (%(default)s)')
    parser.add_argument('--stock', nargs='+', default=[], metavar='NAME', help="'all' for all")
    parser.add_argument(
        '--rows', nargs='+', choices=ROWS, metavar='NAME',
        default=ROWS, help='of the source (all that it has)',
    )  # fmt: skip
    parser.add_argument(
        '--runtimes', nargs='+', choices=list(RUNTIMES), default=USUAL, metavar='NAME',
        help='(all but compile)',
    )  # fmt: skip
    parser.add_argument('--size', type=image_size, default=SIZE, metavar='HxW', help='(512x1024)')
    parser.add_argument('--batch-size', type=number, default=1, metavar='N', help='(%(default)s)')
    parser.add_argument(
        '--threads', type=number, nargs='+', default=[1], metavar='N',
        help='several: each pair with each, and what more threads than the first bring (1)',
    )  # fmt: skip
    parser.add_argument('--rounds', type=number, default=10, metavar='N', help='(%(default)s)')
    parser.add_argument(
        '--base', nargs=2, metavar=('NETWORK', 'RUNTIME'),
        help='what the others are divided by (the ticket in the engine, or the first pair)',
    )  # fmt: skip
    parser.add_argument('--json', type=Path, metavar='FILE', help='write all figures to a file')
    parser.add_argument('--markdown', type=Path, metavar='FILE', help='write the tables to a file')
    parser.add_argument('--force', action='store_true', help='overwrite these files')
    options = parser.parse_args(arguments)
    if options.stock == ['all']:
        options.stock = list(STOCK)
    for name in options.stock:
        if name not in STOCK and '::' not in name:
            parser.error(f'--stock: {name!r} is none of {", ".join(STOCK)}, nor library::config')
    if options.source is None and not options.stock:
        parser.error('give a checkpoint, a config, or --stock: there is nothing to measure')
    if options.source is not None and not options.source.is_file():
        parser.error(f'there is no file {options.source}')
    try:
        for path in filter(None, (options.json, options.markdown)):
            check_output(path, [options.source] if options.source else [], options.force)
    except OSError as error:
        parser.error(str(error))
    return options


def open_networks(options: argparse.Namespace) -> list[Network]:
    """Build the rows."""
    makers: list[tuple[str, Callable[[], list[Network]]]] = []
    source, size = options.source, options.size
    if source is not None and source.suffix == '.pth':
        makers.append((str(source), lambda: of_checkpoint(source, size)))
    elif source is not None:
        makers.append((str(source), lambda: of_config(str(source), size, options.zeros)))
    for name in options.stock:
        makers.append((f'--stock {name}', lambda name=name: [of_stock(name, size)]))
    found = []
    for name, make in makers:
        try:
            found += make()
        except Exception as error:  # a config may be anything
            raise ValueError(f'{name}: {error}') from error
    return [n for n in found if n.name in options.rows or n.name not in ROWS]


def pair_up(
    networks: list[Network], options: argparse.Namespace, say: Callable[[str], None]
) -> tuple[list[Pair], list[str]]:
    """Make and check every form; return what runs, and why others do not."""
    rng = np.random.default_rng(0)
    shape = options.batch_size, 3, *options.size
    pictures = rng.standard_normal(shape).astype(np.float32)
    pairs, notes = [], {}
    for network in networks:
        want = RUNTIMES['eager'].build(network, pictures, options.threads[0])()
        for name, threads in itertools.product(options.runtimes, options.threads):
            say(f'{network.name}: {name}')
            try:
                run = in_threads(RUNTIMES[name].build(network, pictures, threads), threads)
                if RUNTIMES[name].logits:
                    check(run(), want)
            except Missing as error:
                notes[f'{name}: {error}'] = None
                continue
            except Exception as error:  # runtimes have errors of their own
                reason = printable((str(error).strip() or repr(error)).splitlines()[0])
                notes[f'{network.name}, {name}: {reason}'] = None
                continue
            pairs.append(Pair(network.name, name, threads, run))
    return pairs, list(notes)


def in_threads(run: Callable[[], Any], threads: int) -> Callable[[], Any]:
    """Let PyTorch have as many threads as the other runtimes were built for."""

    def with_threads() -> Any:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        return run()

    return with_threads


def check(got: list[np.ndarray], want: list[np.ndarray]) -> None:
    """Compare outputs with PyTorch's."""
    for ours, theirs in zip(got, want, strict=True):
        error = float(np.abs(ours - theirs).max()) / max(float(np.abs(theirs).max()), 1e-12)
        if not error <= TOLERANCE:
            raise ValueError(f'its outputs differ from PyTorch by {error:.1e} of the largest one')


def find_base(pairs: list[Pair], asked: list[str] | None) -> int:
    """Find the pair that others are divided by."""
    places: dict[tuple[str, str], int] = {}
    for place, pair in enumerate(pairs):  # the first number of threads
        places.setdefault((pair.network, pair.runtime), place)
    if asked is None:
        return places.get(('ticket', 'engine'), 0)
    if tuple(asked) not in places:
        known = ', '.join(' '.join(place) for place in places)
        raise ValueError(f'--base {" ".join(asked)} was not measured; there are {known}')
    return places[asked[0], asked[1]]


def measure(options: argparse.Namespace, console: Console) -> dict:
    """Take the figures, in plain types."""
    torch.set_num_threads(options.threads[0])
    with console.status('building') as status:
        networks = open_networks(options)
        macs = {}
        for network in networks:
            counted = count_macs(network.model, (3, *options.size))
            macs[network.name] = dict(structural=counted.dense, nonzero=counted.nonzero)
        pairs, notes = pair_up(networks, options, lambda what: status.update(f'building {what}'))
        if not pairs:
            raise ValueError(f'nothing can be measured: {"; ".join(notes)}')
        base = find_base(pairs, options.base)
        before = os.getloadavg()[0]
        status.update('timing')
        rounds = take_turns([pair.run for pair in pairs], options.rounds)
    return dict(
        conditions=conditions(options, (before, os.getloadavg()[0])),
        base=[pairs[base].network, pairs[base].runtime],
        macs=macs,
        rows=summarize(pairs, rounds, base),
        compaction={n.name: asdict(n.compacted[1]) for n in networks if n.is_compacted},
        not_measured=notes,
    )


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse()
    console = Console() if sys.stdout.isatty() else Console(width=160)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # what mm says while it builds a model
            figures = measure(options, console)
    except (OSError, ValueError, RuntimeError) as error:
        print(f'latency.py: {printable(error)}', file=sys.stderr)
        return 2
    words = {name: runtime.words for name, runtime in RUNTIMES.items()}
    made = latency_tables(figures, words)
    for table in made:
        console.print(table.terminal())
    try:
        if options.json:
            write_atomically(options.json, (json.dumps(figures, indent=2) + '\n').encode())
        if options.markdown:
            text = '\n'.join(table.markdown() for table in made)
            write_atomically(options.markdown, text.encode())
    except OSError as error:
        print(f'latency.py: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
