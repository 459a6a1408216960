"""Write a ticket as ONNX or for torch.export: compacted, and checked against PyTorch.

python tools/deploy/export.py work_dirs/NAME/epoch_430.pth ticket.onnx
"""

import argparse
import io
import sys

import numpy as np
import onnxruntime
import torch
from network import Network, Run, add_arguments, check, open_network
from rich.console import Console

import st_mm  # noqa: F401  # registers the models, applies the runtime fixes
from st_mm.command_line import NOT_RUN, exit_code
from st_mm.deploy.module import export_program, program_bytes
from st_mm.deploy.onnx import to_onnx
from st_mm.deploy.onnx_whole import make_whole
from st_mm.deploy.widen import for_dense_runtimes
from st_mm.files import write_atomically


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Write a ticket as ONNX, for any number and size of pictures; or, where OUT is '
        'named *.pt2, as a program of torch.export, for pictures of one size. What no output '
        'depends on is removed, and the rest is compared with PyTorch before anything is written. '
        'What a user needs around it (mean, std, order of channels, classes, palette) stands in '
        'the metadata of ONNX; examples/run_onnx.py runs it with numpy and onnxruntime alone.',
        epilog='example: python tools/deploy/export.py work_dirs/NAME/epoch_430.pth ticket.onnx. '
        f'{NOT_RUN} Exit codes: 0 done, 1 a file could not be written, 2 wrong arguments, a '
        'checkpoint that does not fit, or a network that cannot be exported.',
    )
    add_arguments(parser, 'the file to write, *.onnx or *.pt2')
    parser.add_argument(
        '--whole',
        action='store_true',
        help='put mean, std, resizing and the decoding of the task into the ONNX file: pixels of 8 '
        'bits in; labels, keypoints or probabilities out',
    )
    options = parser.parse_args(arguments)
    if options.whole and options.target.suffix == '.pt2':
        parser.error('--whole is for ONNX')
    return options


def run(options: argparse.Namespace, console: Console) -> None:
    """Export a ticket."""
    network = open_network(options)
    make = to_program if options.target.suffix == '.pt2' else to_model
    data, compute = make(network, options)
    error = check(network, compute, options.pictures)
    write_atomically(options.target, data)
    console.print(f'{options.target}: {network.found}.', highlight=False)
    console.print(f'Largest error against PyTorch: {error:.1e} of the largest output.')


def to_model(network: Network, options: argparse.Namespace) -> tuple[bytes, Run]:
    """Write ONNX; the second is how the network in it is run."""
    model = to_onnx(for_dense_runtimes(network.graph), network.facts)
    data = model.SerializeToString()
    session = open_session(data)
    if options.whole:
        data = make_whole(model).SerializeToString()
        open_session(data)
    return data, lambda x: session.run(None, {'pictures': x})


def to_program(network: Network, options: argparse.Namespace) -> tuple[bytes, Run]:
    """Write a program of torch.export; the second is how it is run."""
    height, width = network.facts['size']
    data = program_bytes(export_program(network.graph, (height, width)))
    program = torch.export.load(io.BytesIO(data)).module()

    def compute(x: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            outputs = program(torch.from_numpy(x))
        return [y.numpy() for y in (outputs if isinstance(outputs, list | tuple) else [outputs])]

    return data, compute


def open_session(data: bytes) -> onnxruntime.InferenceSession:
    """Open ONNX in ONNX Runtime."""
    return onnxruntime.InferenceSession(data, providers=['CPUExecutionProvider'])


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse()
    return exit_code(lambda: run(options, Console(soft_wrap=True)))


if __name__ == '__main__':
    sys.exit(main())
