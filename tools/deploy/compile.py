"""Compile a ticket for the sparse engine: a weights file, and the engine's library.

python tools/deploy/compile.py work_dirs/NAME/epoch_430.pth ticket.stw
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from network import Network, add_arguments, check, open_network
from rich.console import Console

import st_mm  # noqa: F401  # registers the models, applies the runtime fixes
from st_mm.command_line import NOT_RUN, exit_code
from st_mm.deploy import load
from st_mm.deploy.engine.build import NoCompiler, build_library
from st_mm.deploy.engine.weights_file import to_bytes
from st_mm.deploy.widen import for_dense_runtimes
from st_mm.files import check_output, write_atomically


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Write a ticket as a weights file of the sparse engine, and build the engine '
        "where there is a C compiler (the library is kept in the user's cache). The result is "
        'compared with PyTorch before anything is written. Without a compiler ONNX is written. '
        'In Python: st_mm.deploy.load(OUT)(pictures); in C: examples/segment.c.',
        epilog='example: python tools/deploy/compile.py work_dirs/NAME/epoch_430.pth ticket.stw. '
        f'{NOT_RUN} Exit codes: 0 done, 1 a file could not be written, 2 wrong arguments, a '
        'checkpoint that does not fit, a network that cannot be compiled, or a compiler that '
        'fails.',
    )
    add_arguments(parser, 'the weights file to write, best named *.stw')
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, console: Console) -> None:
    """Compile a ticket."""
    network = open_network(options)
    data = to_bytes(network.graph, network.facts)
    try:
        library = build_library()
    except NoCompiler as missing:
        target = options.target.with_suffix('.onnx')
        check_output(target, [options.ticket, *options.pictures], options.force)
        console.print(f'{missing}. Writing ONNX instead: {target}', highlight=False)
        write_onnx(network, target)
        return
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / 'ticket.stw'
        trial.write_bytes(data)
        error = check(network, load(trial), options.pictures)
    write_atomically(options.target, data)
    console.print(f'{options.target}: {network.found}.', highlight=False)
    console.print(f'Largest error against PyTorch: {error:.1e} of the largest output.')
    console.print(f'The engine: {library}', highlight=False)


def write_onnx(network: Network, target: Path) -> None:
    """Write what every machine can run."""
    try:
        from st_mm.deploy.onnx import save_onnx
    except ImportError as error:
        raise ValueError(f"{error}: pip install 'st_mm[deploy]'") from error
    save_onnx(for_dense_runtimes(network.graph), target, network.facts)


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse()
    os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
    return exit_code(lambda: run(options, Console(soft_wrap=True)))


if __name__ == '__main__':
    sys.exit(main())
