"""What the deployment tools share: a ticket as a compacted graph, and its check against PyTorch."""

import argparse
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from st_mm.analysis.checkpoints import find_input_shape, open_checkpoint
from st_mm.command_line import add_config, checkpoint
from st_mm.deploy.compact import Compaction, compact
from st_mm.deploy.graph import Graph
from st_mm.deploy.metadata import describe
from st_mm.deploy.trace import trace
from st_mm.files import check_output
from st_mm.ticket import load_checkpoint

Run = Callable[[np.ndarray], Sequence[np.ndarray]]
TOLERANCE = 1e-4  # of the largest output


@dataclass(frozen=True)
class Network:
    """A ticket on its way out."""

    model: nn.Module
    graph: Graph
    found: Compaction
    facts: dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser, target: str) -> None:
    """Add what the tools have in common."""
    parser.add_argument('ticket', type=checkpoint, metavar='TICKET', help='a .pth file or a name')
    parser.add_argument('target', type=Path, metavar='OUT', help=target)
    parser.add_argument('--force', action='store_true', help='overwrite OUT')
    add_config(parser)
    parser.add_argument(
        '--size',
        type=side,
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help='the only size of picture that OUT takes (any size)',
    )
    parser.add_argument(
        '--pictures',
        type=Path,
        nargs='+',
        default=[],
        metavar='FILE',
        help='pictures to compare OUT with PyTorch on (noise of the size of the training)',
    )


def side(text: str) -> int:
    """A number of pixels: 1 or more."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'{text!r} is not a number of pixels')
    return int(text)


def open_network(options: argparse.Namespace) -> Network:
    """Open a ticket, trace it and remove what is dead."""
    check_output(options.target, [options.ticket, *options.pictures], options.force)
    opened = open_checkpoint(options.ticket, options.config, options.trust)
    model = opened.model.eval()
    try:
        size = find_input_shape(opened.config, opened.ticket)[1:]
    except ValueError:
        size = (256, 256)
    size = tuple(options.size) if options.size else size
    graph, found = compact(trace(model, size if options.size else None))
    meta = load_checkpoint(options.ticket)['meta']
    return Network(model, graph, found, describe(model, meta, size))


def check(network: Network, run: Run, pictures: list[Path]) -> float:
    """Compare what was made with PyTorch in float64; return the largest error.

    Errors are relative to the largest output. A network that magnifies rounding may miss the
    tolerance in any float32 program: then what PyTorch itself misses by in float32 is the measure.

    Raises:
        ValueError: If the error is larger than the tolerance, and than four times PyTorch's own.
    """
    exact = copy.deepcopy(network.model).double()
    largest = own = 0.0
    for x in batches(network, pictures):
        picture = torch.from_numpy(x)
        with torch.no_grad():
            want, usual = (
                model(each, data_samples=None, mode='tensor')
                for model, each in ((exact, picture.double()), (network.model, picture))
            )
        want, usual = (each if isinstance(each, list | tuple) else [each] for each in (want, usual))
        for got, expected, eager in zip(run(x), want, usual, strict=True):
            scale = max(float(expected.abs().max()), 1e-12)
            largest = max(largest, float(np.abs(got - expected.numpy()).max()) / scale)
            own = max(own, float((eager - expected).abs().max()) / scale)
    if not largest <= max(TOLERANCE, 4 * own):
        raise ValueError(
            f'the outputs differ from those of PyTorch by {largest:.1e} of the largest one '
            f'(allowed {TOLERANCE:.0e}; PyTorch in float32 is off by {own:.1e}): nothing was '
            'written'
        )
    return largest


def batches(network: Network, pictures: list[Path]) -> list[np.ndarray]:
    """Pictures as the network wants them; noise where there are none."""
    height, width = network.facts['size']
    channels = network.graph.picture.channels
    if not pictures:
        rng = np.random.default_rng(0)
        return [rng.standard_normal((1, channels, height, width)).astype(np.float32)]
    import cv2

    made = []
    for path in pictures:
        picture = cv2.imread(str(path))
        if picture is None:
            raise ValueError(f'{path} is not a picture that can be read')
        picture = cv2.resize(picture, (width, height)).astype(np.float32)
        if network.facts['channel_order'] == 'rgb':
            picture = picture[..., ::-1]
        picture = (picture - network.facts.get('mean', 0)) / network.facts.get('std', 1)
        made.append(np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32))
    return made
