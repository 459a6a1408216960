"""Write a ticket as ONNX: compacted, checked against PyTorch, for any number and size of pictures.

python tools/deploy/export.py work_dirs/NAME/epoch_430.pth ticket.onnx
"""

import argparse
import sys

import onnxruntime
from network import add_arguments, check, open_network
from rich.console import Console

import st_mm  # noqa: F401  # registers the models, applies the runtime fixes
from st_mm.command_line import NOT_RUN, exit_code
from st_mm.deploy.onnx import to_onnx
from st_mm.files import write_atomically


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Write a ticket as ONNX. What no output depends on is removed, and the rest '
        'is compared with PyTorch before anything is written. What a user needs around it (mean, '
        'std, order of channels, classes, palette) stands in its metadata; examples/run_onnx.py '
        'runs it with numpy and onnxruntime alone.',
        epilog='example: python tools/deploy/export.py work_dirs/NAME/epoch_430.pth ticket.onnx. '
        f'{NOT_RUN} Exit codes: 0 done, 1 a file could not be written, 2 wrong arguments, a '
        'checkpoint that does not fit, or a network that cannot be exported.',
    )
    add_arguments(parser, 'the ONNX file to write')
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, console: Console) -> None:
    """Export a ticket."""
    network = open_network(options)
    data = to_onnx(network.graph, network.facts).SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=['CPUExecutionProvider'])
    error = check(network, lambda x: session.run(None, {'pictures': x}), options.pictures)
    write_atomically(options.target, data)
    console.print(f'{options.target}: {network.found}.', highlight=False)
    console.print(f'Largest error against PyTorch: {error:.1e} of the largest output.')


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse()
    return exit_code(lambda: run(options, Console(soft_wrap=True)))


if __name__ == '__main__':
    sys.exit(main())
