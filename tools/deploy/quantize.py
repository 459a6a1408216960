"""Write a ticket in int8 for OpenVINO, and say what that costs in score.

python tools/deploy/quantize.py work_dirs/NAME/epoch_430.pth ticket.xml --split val
"""

import argparse
import contextlib
import io
import itertools
import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine import Config
from network import Run
from rich.console import Console
from scoring import add_arguments, load_split, open_scored, score, score_table, through
from torch import nn

import st_mm  # noqa: F401  # registers the models, applies the runtime fixes
from st_mm.command_line import NOT_RUN, checkpoint, exit_code
from st_mm.deploy.onnx import to_onnx
from st_mm.deploy.widen import for_dense_runtimes
from st_mm.files import check_output, write_atomically


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Write a ticket in int8 for OpenVINO: compacted, quantized by NNCF's "
        'post-training quantization on pictures of the training, and scored beside PyTorch and '
        'OpenVINO in float32 by the data and metrics of its config.',
        epilog='example: python tools/deploy/quantize.py work_dirs/NAME/epoch_430.pth ticket.xml. '
        f"Needs pip install 'st_mm[int8]'. {NOT_RUN} Exit codes: 0 done, 1 a file could not be "
        'written, 2 wrong arguments, something that is not installed, a checkpoint that does not '
        'fit, or data that are not there.',
    )
    parser.add_argument('ticket', type=checkpoint, metavar='TICKET', help='a .pth file or a name')
    parser.add_argument(
        'target', type=Path, metavar='OUT', help='the file to write, *.xml; weights go to *.bin'
    )
    parser.add_argument('--force', action='store_true', help='overwrite OUT')
    add_arguments(parser)
    parser.add_argument(
        '--pictures',
        type=int,
        default=300,
        metavar='N',
        help='of the training, from which the ranges of values are taken (%(default)s)',
    )
    options = parser.parse_args(arguments)
    if options.target.suffix != '.xml':
        parser.error(f'OUT must be named *.xml, got {options.target}')
    if options.pictures < 1:
        parser.error('--pictures must be 1 or more')
    return options


def run(options: argparse.Namespace, console: Console) -> None:
    """Quantize a ticket."""
    files = options.target, options.target.with_suffix('.bin')
    for file in files:
        check_output(file, [options.ticket], options.force)
    openvino, nncf = _libraries()
    config, model, graph, found = open_scored(options)
    whole = openvino.Core().read_model(to_onnx(for_dense_runtimes(graph)).SerializeToString())
    pictures = list(itertools.islice(_pictures(config, model), options.pictures))
    with contextlib.redirect_stdout(io.StringIO()):  # its bars and advice
        small = nncf.quantize(whole.clone(), nncf.Dataset(pictures), subset_size=len(pictures))
    forms = {
        'PyTorch': model,
        'OpenVINO': through(model, _runner(openvino, whole)),
        'OpenVINO, int8': through(model, _runner(openvino, small)),
    }
    scores = score(config, options.split, forms)
    with tempfile.TemporaryDirectory() as folder:
        openvino.save_model(small, Path(folder) / 'ticket.xml', compress_to_fp16=False)
        for file in reversed(files):
            write_atomically(file, (Path(folder) / f'ticket{file.suffix}').read_bytes())
    title = f'{options.ticket.name}, {options.split} pictures'
    notes = f'{found}.', f'Ranges of values are those of {len(pictures)} pictures of the training.'
    console.print(score_table(scores, title, notes).terminal())
    console.print(f'{files[0]}, {files[1]}', highlight=False)


def _libraries() -> tuple[Any, Any]:
    """OpenVINO and NNCF.

    Raises:
        ValueError: If one is not installed.
    """
    try:
        import nncf
        import openvino
    except ImportError as error:
        raise ValueError(f"{error}: int8 needs pip install 'st_mm[int8]'") from error
    logging.getLogger('nncf').setLevel('ERROR')
    return openvino, nncf


def _pictures(config: Config, model: nn.Module) -> Iterator[np.ndarray]:
    """Pictures of the training, one by one, as the network gets them: (1, C, H, W) in float32."""
    for batch in load_split(config, 'train'):
        for picture, sample in zip(batch['inputs'], batch['data_samples'], strict=True):
            one = dict(inputs=[picture], data_samples=[sample])  # sizes may differ
            yield model.data_preprocessor(one, False)['inputs'].float().numpy()


def _runner(openvino: Any, network: Any) -> Run:
    """How a network of OpenVINO is run, in as many threads as PyTorch has."""
    # not bfloat16, which processors that have it would take instead of float32
    exact = {'INFERENCE_NUM_THREADS': torch.get_num_threads(), 'INFERENCE_PRECISION_HINT': 'f32'}
    compiled = openvino.compile_model(network, 'CPU', exact)
    return lambda x: list(compiled(x).values())


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse()
    return exit_code(lambda: run(options, Console(soft_wrap=True)))


if __name__ == '__main__':
    sys.exit(main())
