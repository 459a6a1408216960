"""Measure once what the search units of a network take on this device, for SearchHook.

python tools/benchmarks/unit_latency.py CONFIG --size 512x1024 --json latency.json

Then dict(type='SearchHook', cost=dict(type='latency', table='latency.json'), ...) in the config.
"""

import argparse
import copy
import os
import platform
import sys
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

os.environ.setdefault('OMP_WAIT_POLICY', 'passive')  # before torch starts threads

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from networks import Network, build, logits, with_statistics
from rich.console import Console
from runtimes import RUNTIMES, Missing, versions
from torch import Tensor, nn
from train_step import image_size, number

import st_mm  # noqa: F401 - registers the models, applies the runtime fixes
from st_mm.command_line import exit_code
from st_mm.files import check_output, write_atomically
from st_mm.measure.timing import take_turns
from st_mm.search import Curve, LatencyTable, shrink
from st_mm.units import UnitOwner, find_owners

MEASURED = ('eager', 'ort', 'openvino', 'engine')
HELP = """\
Each block runs alone, with a few numbers of units of one kernel after the other, and the whole
network once; between these widths the search takes straight lines. What the kernels of a block save
one by one is scaled to what they save together. All is in eval mode and float32, in PyTorch as the
config builds it, or with --runtime in what the network is deployed to; medians over the rounds, in
which all widths of a block take turns. On one thread of a CPU it is the time of the process, else
that of the wall.

Exit codes: 0 done, 1 the file could not be written, 2 wrong arguments, or a network that cannot be
built.
"""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Measure what search units take on this device.',
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', type=Path, metavar='CONFIG')
    parser.add_argument(
        '--size', type=image_size, required=True, metavar='HxW',
        help='of one picture: that of input_shape in the SearchHook',
    )  # fmt: skip
    parser.add_argument('--batch-size', type=number, default=1, metavar='N', help='(%(default)s)')
    parser.add_argument(
        '--widths', type=number, default=4, metavar='N',
        help='parts that the units of a kernel are divided in (%(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--runtime', choices=MEASURED, default='eager',
        help='ONNX Runtime, OpenVINO or the engine, on the CPU, in place of PyTorch',
    )  # fmt: skip
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu', help='(%(default)s)')
    parser.add_argument('--threads', type=number, default=1, metavar='N', help='(%(default)s)')
    parser.add_argument('--rounds', type=number, default=10, metavar='N', help='(%(default)s)')
    parser.add_argument('--json', type=Path, required=True, metavar='FILE', help='the table')
    parser.add_argument('--force', action='store_true', help='overwrite FILE')
    options = parser.parse_args(arguments)
    if not options.config.is_file():
        parser.error(f'there is no file {options.config}')
    if options.device == 'cuda' and options.runtime != 'eager':
        parser.error(f'--runtime {options.runtime} is measured on the CPU: leave --device out')
    if options.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda, but torch sees no GPU')
    try:
        check_output(options.json, [options.config], options.force)
    except OSError as error:
        parser.error(str(error))
    return options


def measure(options: argparse.Namespace, say: Callable[[str], None]) -> LatencyTable:
    """Take the figures."""
    torch.set_num_threads(options.threads)
    model = with_statistics(build(Config.fromfile(options.config)), options.size)
    model.to(options.device)
    owners = find_owners(model)
    if not owners:
        raise ValueError(f'{type(model).__name__} has no search units')
    pictures = torch.randn(options.batch_size, 3, *options.size, device=options.device)
    with torch.no_grad():
        inputs = inputs_of(model, owners, pictures)
        say('the network')
        [whole] = times([ready(model, (pictures,), options)], options)
        known: dict[str, dict[str, Curve]] = {}
        curves = {}
        for name, owner in owners.items():
            block = model.get_submodule(name)
            alike = str((block, owner.unit_groups(), [x.shape for x in inputs[name]]))
            if alike not in known:  # blocks of one shape take the same time
                say(name)
                known[alike] = measure_block(block, inputs[name], options)
            curves[name] = known[alike]
    gpu = torch.cuda.get_device_name() if options.device == 'cuda' else ''
    conditions = dict(
        config=options.config.name,
        runtime=options.runtime,
        device=gpu or f'{os.cpu_count()}-core {platform.machine()} CPU',
        threads=options.threads,
        batch_size=options.batch_size,
        rounds=options.rounds,
        **versions(),
        blocks=len(known),
    )
    return LatencyTable((3, *options.size), whole, curves, conditions)


def inputs_of(
    model: nn.Module, owners: dict[str, UnitOwner], pictures: Tensor
) -> dict[str, tuple[Tensor, ...]]:
    """Note what each owner of units is called with."""
    found: dict[str, tuple[Tensor, ...]] = {}

    def note(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found[name] = inputs

    handles = [
        model.get_submodule(name).register_forward_pre_hook(partial(note, name)) for name in owners
    ]
    logits(model, pictures)
    for handle in handles:
        handle.remove()
    return found


def measure_block(
    block: nn.Module, inputs: tuple[Tensor, ...], options: argparse.Namespace
) -> dict[str, Curve]:
    """Time a block at some widths of each of its kernels alone."""
    owner = find_owners(nn.Sequential(block))['0']
    groups, least = owner.unit_groups(), owner.least_units
    widths = {
        group: sorted({max(round(count * part / options.widths), least)
                       for part in range(options.widths + 1)})
        for group, count in groups.items()
    }  # fmt: skip
    arms = [(group, width) for group, some in widths.items() for width in some]
    blocks = [narrowed(block, groups, {group: width}) for group, width in arms]
    runs = [ready(each, inputs, options) for each in (*blocks, block)]
    *seconds, whole = times(runs, options)
    found = dict(zip(arms, seconds, strict=True))
    rising = {
        group: list(accumulate((found[group, width] for width in some), max))
        for group, some in widths.items()
    }
    apart = sum(each[-1] - each[0] for each in rising.values())
    together = whole - min(each[0] for each in rising.values())
    scale = together / apart if together > 0 and apart else 1.0
    return {
        group: Curve(
            tuple(some),
            tuple(rising[group][0] + scale * (each - rising[group][0]) for each in rising[group]),
        )
        for group, some in widths.items()
    }


def narrowed(block: nn.Module, groups: dict[str, int], widths: dict[str, int]) -> nn.Module:
    """Copy a block with so many units of the kernels that are named, and none of the others."""
    model = nn.Sequential(copy.deepcopy(block))
    dead = torch.cat([torch.arange(n) >= widths.get(group, 0) for group, n in groups.items()])
    shrink(model, {'0': dead}, absorb=False)
    return model.eval()


def ready(
    module: nn.Module, inputs: tuple[Tensor, ...], options: argparse.Namespace
) -> Callable[[], object]:
    """Make a network, or a block of it, ready to be timed."""
    if options.runtime == 'eager':
        return partial(logits if isinstance(module, BaseModel) else call, module, *inputs)
    if len(inputs) > 1:
        raise ValueError(
            f'--runtime {options.runtime} runs blocks of one input, and a {type(module).__name__} '
            f'of this network has {len(inputs)}: leave it out'
        )
    maps = inputs[0]
    network = Network('', module, (maps.shape[2], maps.shape[3]))
    try:
        return RUNTIMES[options.runtime].build(network, maps.numpy(), options.threads)
    except Missing as error:
        raise ValueError(f'--runtime {options.runtime}: {error}') from error


def call(block: nn.Module, *inputs: Tensor) -> object:
    """Run a block alone."""
    return block(*inputs)


def times(runs: list[Callable[[], object]], options: argparse.Namespace) -> list[float]:
    """Time calls in turn: the median of each, in seconds."""
    alone = options.device == 'cpu' and options.threads == 1
    clock = process_time if alone else perf_counter  # other programs disturb the first one least
    table = take_turns(runs, options.rounds, (clock,))
    return [median(row[place][0] for row in table) for place in range(len(runs))]


def run(options: argparse.Namespace) -> None:
    """Measure, and write the table."""
    console = Console() if sys.stdout.isatty() else Console(width=120)
    with console.status('building') as status:
        table = measure(options, lambda what: status.update(f'timing {what}'))
    least = {
        name: {group: curve.widths[0] for group, curve in groups.items()}
        for name, groups in table.curves.items()
    }
    console.print(
        f'{1e3 * table.whole:.2f} ms for {table.input_shape[1]}x{table.input_shape[2]}, of which '
        f'{1e3 * (table.whole - table.total(least)):.2f} ms go with all units '
        f'({len(table.curves)} blocks, {table.conditions["blocks"]} of them different)'
    )
    write_atomically(options.json, table.text().encode())


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse()
    return exit_code(lambda: run(options))


if __name__ == '__main__':
    sys.exit(main())
