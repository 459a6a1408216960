"""Score a ticket on its own data as PyTorch, ONNX Runtime and the engine run it.

python tools/deploy/score.py work_dirs/NAME/epoch_430.pth --split val
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from rich.console import Console
from scoring import add_arguments, open_scored, score, score_table, through
from torch import nn

import st_mm  # noqa: F401  # registers the models, applies the runtime fixes
from st_mm.command_line import NOT_RUN, exit_code
from st_mm.deploy import load
from st_mm.deploy.engine.build import NoCompiler
from st_mm.deploy.engine.weights_file import to_bytes
from st_mm.deploy.graph import Graph
from st_mm.deploy.onnx import to_onnx
from st_mm.deploy.widen import for_dense_runtimes


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Score a ticket by its config's data and metrics, run by PyTorch, by ONNX "
        'Runtime and by the sparse engine. Each gets the same pictures, and what comes before and '
        "after the network is mm's own.",
        epilog='example: python tools/deploy/score.py work_dirs/NAME/epoch_430.pth --split val. '
        f'{NOT_RUN} Exit codes: 0 done, 2 wrong arguments, a checkpoint that does not fit, a '
        'network that cannot be traced, or data that are not there.',
    )
    parser.add_argument('ticket', type=Path, metavar='TICKET', help='a checkpoint, a .pth file')
    add_arguments(parser)
    return parser.parse_args(arguments)


def forms(model: nn.Module, graph: Graph, say: Callable[[str], None]) -> dict[str, nn.Module]:
    """The ways to run a network, each as the model that it belongs to."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        to_onnx(for_dense_runtimes(graph)).SerializeToString(),
        options,
        providers=['CPUExecutionProvider'],
    )
    found = {
        'PyTorch': model,
        'ONNX Runtime': through(model, lambda x: session.run(None, {'pictures': x})),
    }
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'ticket.stw'
            path.write_bytes(to_bytes(graph))
            found['engine'] = through(model, load(path, torch.get_num_threads()))
    except NoCompiler as missing:
        say(f'{missing}. The engine is left out.')
    return found


def run(options: argparse.Namespace, console: Console) -> None:
    """Score a ticket."""
    config, model, graph, found = open_scored(options)
    scores = score(config, options.split, forms(model, graph, console.print))
    title = f'{options.ticket.name}, {options.split} pictures'
    console.print(score_table(scores, title, (f'{found}.',)).terminal())


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse()
    return exit_code(lambda: run(options, Console(soft_wrap=True)))


if __name__ == '__main__':
    sys.exit(main())
