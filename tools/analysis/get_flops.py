"""Count parameters and MACs of a config or of a checkpoint: dense, structural, nonzero.

python tools/analysis/get_flops.py work_dirs/NAME/epoch_430.pth --shape 512 1024
"""

import argparse
import json
import sys
from pathlib import Path

from mmengine.config import Config, DictAction
from rich.console import Console
from torch import nn

import st_mm  # noqa: F401 - registers the models, applies the runtime fixes
from st_mm.analysis.checkpoints import build_model, find_input_shape, open_checkpoint
from st_mm.analysis.costs import CostCard, cost_card
from st_mm.command_line import NOT_RUN, add_config, checkpoint, exit_code
from st_mm.files import check_output, write_atomically


def side(text: str) -> int:
    """A number of pixels: 1 or more."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'{text!r} is not a number of pixels')
    return int(text)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Count the parameters and the MACs (multiply-adds of convolutions, linear '
        'layers and matrix products) of one picture: dense as the config builds the network, '
        'structural as a checkpoint is shaped, nonzero without the weights that are zero. mm calls '
        'MACs FLOPs.',
        epilog=f'{NOT_RUN} Exit codes: 0 done, 1 a file could not be written, 2 wrong arguments, a '
        'file that is not a config or checkpoint, or a network that cannot be counted.',
    )
    parser.add_argument(
        'source', type=checkpoint, metavar='CONFIG|CKPT',
        help='a config, or a .pth file (or the name of a shipped one) with its config',
    )  # fmt: skip
    parser.add_argument(
        '--shape',
        type=side,
        nargs='+',
        metavar='SIDE',
        help='height and width of the picture, or one number for both (those of the training)',
    )
    parser.add_argument(
        '--accelerator',
        action='store_true',
        help='estimate the time on a sparse accelerator as well (paper Table 10)',
    )
    parser.add_argument('--layers', action='store_true', help='list every layer as well')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the figures to a file too')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, help='changes to the config'
    )
    parser.add_argument('--force', action='store_true', help='overwrite FILE')
    add_config(parser)
    options = parser.parse_args(arguments)
    try:
        if options.json:
            check_output(options.json, [options.source], options.force)
    except OSError as error:
        parser.error(str(error))
    if options.shape and len(options.shape) > 2:
        parser.error('--shape takes a height and a width, or one number for both')
    return options


def count(options: argparse.Namespace) -> CostCard:
    """Count what the command line asks for."""
    ticket = None
    if options.source.suffix == '.pth':
        if options.cfg_options:
            raise ValueError('--cfg-options changes a config, but the source is a checkpoint')
        opened = open_checkpoint(options.source, options.config, options.trust)
        config, ticket = opened.config, opened.ticket
        supernet, model = opened.supernet, opened.model
    else:
        config = Config.fromfile(options.source)
        config.merge_from_dict(options.cfg_options)
        supernet = model = build_model(config)
        for weight in model.parameters():  # a drawn one may be zero by chance, and none is masked
            nn.init.ones_(weight)
    shape = (3, options.shape[0], options.shape[-1]) if options.shape else None
    return cost_card(supernet, model, ticket, shape or find_input_shape(config, ticket))


def run(options: argparse.Namespace, console: Console) -> None:
    """Print the tables, and write the figures if they are asked for."""
    try:
        card = count(options)
    except (OSError, SyntaxError, KeyError, RuntimeError, ValueError) as error:
        raise ValueError(f'{options.source}: {error}') from error
    if options.layers:
        console.print(card.layers_table().terminal())
    console.print(card.table().terminal())
    if options.accelerator:
        console.print(card.accelerator_table().terminal())
    if options.json:
        write_atomically(options.json, (json.dumps(card.to_dict(), indent=2) + '\n').encode())


def main() -> int:
    """Run the command line; return the exit code."""
    options = parse()
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    return exit_code(lambda: run(options, console))


if __name__ == '__main__':
    sys.exit(main())
