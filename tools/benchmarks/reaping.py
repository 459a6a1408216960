"""Measure what reaping takes off tickets: their empty units, MACs, steps and latency.

python tools/benchmarks/reaping.py work_dirs/NAME/epoch_430.pth --size 512x1024 --ratios 0.95 0.98
"""

import argparse
import copy
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault('OMP_WAIT_POLICY', 'passive')  # before torch and the engine start threads

import torch
from networks import Network, logits
from rich.console import Console
from runtimes import RUNTIMES, Missing
from torch import nn
from train_step import image_size, number

import st_mm  # noqa: F401 - registers the models, applies the runtime fixes
from st_mm.analysis.checkpoints import open_checkpoint
from st_mm.analysis.table import Table
from st_mm.command_line import checkpoint, exit_code
from st_mm.files import check_output, write_atomically
from st_mm.measure import count_macs
from st_mm.measure.timing import take_turns
from st_mm.prune import lowest, magnitude, prunable_weights
from st_mm.search import count_units, settle, settled_units, shrink
from st_mm.units import find_owners

RUNS = ('eager', 'ort', 'engine')
HEADER = 'ticket', 'masked', 'units', 'empty', 'MACs', 'step', *RUNS, 'outputs differ by'
HELP = """\
columns:
  masked    zeros among the weights that can be masked
  empty     units that reaping removes, of those before
  MACs      of one picture afterwards, over before; masked weights counted
  step      forward and backward on random pictures afterwards, over before
  eager, ort, engine
            a picture in PyTorch, ONNX Runtime (norms folded, nothing compacted) and our engine
  outputs differ by
            in float64, of the largest one

Each is timed before and after in turn, by the time of the process; medians of the rounds' ratios.
With --ratios a ticket is also pruned further, by the magnitude of its weights, without training.

Exit codes: 0 done, 1 a file could not be written, 2 wrong arguments, or a checkpoint without units.
"""


def share(text: str) -> float:
    """Read a share of weights: above 0, below 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not a share between 0 and 1')
    return value


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Measure what reaping takes off tickets.',
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('tickets', nargs='+', type=checkpoint, metavar='CKPT')
    parser.add_argument('--size', type=image_size, required=True, metavar='HxW')
    parser.add_argument(
        '--ratios', nargs='+', type=share, default=[], metavar='RATIO',
        help='prune further to these; those that a ticket has already are left out',
    )  # fmt: skip
    parser.add_argument('--batch-size', type=number, default=4, metavar='N', help='of a step (4)')
    parser.add_argument('--rounds', type=number, default=10, metavar='N', help='(%(default)s)')
    parser.add_argument('--markdown', type=Path, metavar='FILE', help='write the table to a file')
    parser.add_argument('--force', action='store_true', help='overwrite FILE')
    options = parser.parse_args(arguments)
    if options.markdown:
        try:
            check_output(options.markdown, options.tickets, options.force)
        except OSError as error:
            parser.error(str(error))
    return options


def measure(options: argparse.Namespace, say: Callable[[str], None]) -> Table:
    """Take the figures."""
    torch.set_num_threads(1)
    rows = []
    for path in options.tickets:
        opened = open_checkpoint(path)
        model = opened.model.eval()
        if not find_owners(model):
            raise ValueError(f'{path}: {type(model).__name__} has no search units')
        masked = _masked(model)
        for ratio in [masked, *(each for each in sorted(options.ratios) if each > masked + 0.005)]:
            say(f'{path.stem} at {ratio:.1%}')
            if ratio > masked:
                prune(model, ratio)
            rows.append((path.stem, *row(model, dict(opened.meta), options)))
    caption = (
        f'One thread, pictures of {options.size[0]}x{options.size[1]}, steps of batch '
        f'{options.batch_size}, {options.rounds} rounds; times and MACs are those afterwards over '
        'those before.'
    )
    return Table(HEADER, tuple(rows), notes=(caption,))


def row(model: nn.Module, meta: dict[str, Any], options: argparse.Namespace) -> tuple[str, ...]:
    """Reap a copy of a network, and compare the two."""
    owners = find_owners(model)
    empty, units = settled_units(owners), count_units(owners)
    reaped = copy.deepcopy(model)
    settle(find_owners(reaped), empty)
    shrink(reaped, empty)
    removed = sum(int(mask.sum()) for mask in empty.values())
    shape = 3, *options.size
    macs = [count_macs(each, shape).dense for each in (model, reaped)]
    pictures = torch.randn(options.batch_size, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        was, now = (
            logits(copy.deepcopy(m).double(), pictures[:1].double())[0] for m in (model, reaped)
        )
    difference = float((was - now).abs().max() / was.abs().max())
    trained = [partial(step, copy.deepcopy(each).train(), pictures) for each in (model, reaped)]
    ratios = [over(trained, options.rounds)]
    for name in RUNS:
        try:
            runs = [
                RUNTIMES[name].build(Network('', each, options.size, meta), pictures[:1].numpy(), 1)
                for each in (model, reaped)
            ]
        except Missing:
            ratios.append('-')
        else:
            ratios.append(over(runs, options.rounds))
    return (
        f'{_masked(model):.1%}',
        f'{units:,}',
        f'{removed / units:.1%}',
        f'{macs[1] / macs[0]:.3f}',
        *ratios,
        f'{difference:.0e}',
    )


def over(arms: list[Callable[[], object]], rounds: int) -> str:
    """Time two calls in turn: the second over the first."""
    table = take_turns(arms, rounds)
    return f'{median(row[1][1] / row[0][1] for row in table):.3f}'


def step(model: nn.Module, pictures: torch.Tensor) -> None:
    """Run a network forward and backward."""
    model.zero_grad()
    torch.stack([output.square().mean() for output in logits(model, pictures)]).sum().backward()


@torch.no_grad()
def prune(model: nn.Module, ratio: float) -> None:
    """Set the smallest weights of the whole network to zero, in place."""
    weights = prunable_weights(model)
    for name, keep in lowest(magnitude(weights), ratio).items():
        weights[name].mul_(keep)


def _masked(model: nn.Module) -> float:
    weights = prunable_weights(model).values()
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


def run(options: argparse.Namespace) -> None:
    """Measure, and show the table."""
    console = Console() if sys.stdout.isatty() else Console(width=140)
    with console.status('reading') as status:
        table = measure(options, lambda what: status.update(f'measuring {what}'))
    console.print(table.terminal())
    if options.markdown:
        write_atomically(options.markdown, table.markdown().encode())


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse()
    return exit_code(lambda: run(options))


if __name__ == '__main__':
    sys.exit(main())
