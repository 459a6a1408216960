"""What the deployment tools share: a ticket as a compacted graph, and its check against PyTorch."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from st_mm.analysis.checkpoints import find_input_shape, open_checkpoint
from st_mm.deploy.compact import Compaction, compact
from st_mm.deploy.graph import Graph
from st_mm.deploy.metadata import describe
from st_mm.deploy.trace import trace
from st_mm.ticket import load_checkpoint

TOLERANCE = 1e-4  # of the largest output
TRUST = 'The config in a checkpoint is run as Python: open only files from people you trust.'


@dataclass(frozen=True)
class Network:
    """A ticket on its way out."""

    model: nn.Module
    graph: Graph
    found: Compaction
    facts: dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser, target: str) -> None:
    """Adds what the tools have in common."""
    parser.add_argument('ticket', type=Path, metavar='TICKET', help='a checkpoint, a .pth file')
    parser.add_argument('target', type=Path, metavar='OUT', help=target)
    parser.add_argument('--force', action='store_true', help='overwrite OUT')
    parser.add_argument(
        '--size',
        type=int,
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


def open_network(options: argparse.Namespace) -> Network:
    """Opens a ticket, traces it and removes what is dead."""
    if options.target.exists() and not options.force:
        raise FileExistsError(
            f'{options.target} is there already: choose another name, or overwrite it with --force'
        )
    opened = open_checkpoint(options.ticket)
    model = opened.model.eval()
    try:
        size = find_input_shape(opened.config, opened.ticket)[1:]
    except ValueError:
        size = (256, 256)
    size = tuple(options.size) if options.size else size
    graph, found = compact(trace(model, size if options.size else None))
    meta = load_checkpoint(options.ticket)['meta']
    return Network(model, graph, found, describe(model, meta, size))


def check(
    network: Network, run: Callable[[np.ndarray], Sequence[np.ndarray]], pictures: list[Path]
) -> float:
    """Compares what was made with PyTorch; returns the largest error, relative to the output.

    Raises:
        ValueError: If it is larger than the tolerance.
    """
    largest = 0.0
    for x in batches(network, pictures):
        with torch.no_grad():
            want = network.model(torch.from_numpy(x), data_samples=None, mode='tensor')
        want = want if isinstance(want, (list, tuple)) else [want]
        for got, expected in zip(run(x), want, strict=True):
            difference = np.abs(got - expected.numpy()).max()
            largest = max(largest, float(difference / max(expected.abs().max(), 1e-12)))
    if not largest <= TOLERANCE:
        raise ValueError(
            f'the outputs differ from those of PyTorch by {largest:.1e} of the largest one '
            f'(allowed {TOLERANCE:.0e}): nothing was written'
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
