"""ticket.py show: what a checkpoint has kept."""

import argparse

from mmengine.config import Config
from rich.console import Console

from st_mm.analysis import tables
from st_mm.analysis.checkpoints import find_input_shape, open_checkpoint
from st_mm.analysis.course import courses
from st_mm.analysis.report import report
from st_mm.analysis.transfers import preview
from st_mm.command_line import add_config, checkpoint
from st_mm.files import check_output
from st_mm.prune.merge import merged_density

from .common import add_command, add_json, save_json


def input_shape(text: str) -> tuple[int, ...]:
    """3x512x1024 -> (3, 512, 1024)."""
    sizes = text.lower().split('x')
    if len(sizes) != 3 or not all(size.isdecimal() and int(size) for size in sizes):
        raise argparse.ArgumentTypeError(
            f'{text!r} is not CHANNELSxHEIGHTxWIDTH, such as 3x512x1024'
        )
    return tuple(int(size) for size in sizes)


def side(text: str) -> int:
    """A number of pixels: 1 or more."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'{text!r} is not a number of pixels')
    return int(text)


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        show,
        examples=[
            'show work_dirs/NAME/epoch_430.pth',
            'show supertickets-p90-slim_8b-30e_toy-streets-128x256',
            'show ticket.pth --input-shape 3x512x1024',
            'show ticket.pth --shape 512 1024 --layers --json ticket.json',
            'show ticket.pth --for configs/transfer/tiny-imagenet_to_camvid.py',
        ],
        help='what a checkpoint has kept: units, parameters, density, MACs',
        description='Show where a checkpoint comes from and what search and pruning have left of '
        'its supernet. Works for any mm checkpoint: as trained, as published, of a stock model.',
    )
    parser.add_argument(
        'checkpoint', type=checkpoint, metavar='CKPT',
        help='a .pth file, or the name of a model whose weights ship with st_mm',
    )  # fmt: skip
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        '--input-shape', type=input_shape, metavar='CxHxW',
        help="picture that MACs are counted for (the search's, else that of training)",
    )  # fmt: skip
    sizes.add_argument(
        '--shape', type=side, nargs=2, metavar=('H', 'W'), help='the same, for 3 channels'
    )
    parser.add_argument(
        '--for', dest='target', metavar='CONFIG', help='show what the model of a config would take'
    )
    parser.add_argument('--layers', action='store_true', help='list every layer as well')
    add_json(parser)
    add_config(parser)


def show(options: argparse.Namespace, console: Console) -> None:
    """Print the report over a checkpoint."""
    if options.json:
        check_output(options.json, [options.checkpoint, options.config], options.force)
    if options.target:
        console.print(preview(options.checkpoint, Config.fromfile(options.target)).terminal())
        return
    opened = open_checkpoint(options.checkpoint, options.config, options.trust)
    shape = (3, *options.shape) if options.shape else options.input_shape
    shape = shape or find_input_shape(opened.config, opened.ticket)
    found = report(opened.supernet, opened.model, opened.ticket, shape)
    console.print(tables.header(opened.facts, opened.ticket))
    console.print()
    console.print(tables.blocks(found))
    if options.layers:
        console.print(tables.layers(found.layers))
    console.print(tables.summary(found))
    after = merged_density(opened.model)
    if after is not None:
        console.print(
            f'density after the merge for deployment (parallel branches become one): {after:.4f}'
        )
    if options.json:
        figures = dict(facts=vars(opened.facts), **found.to_dict())
        if after is not None:
            figures['merged_density'] = after
        if course := courses(opened.ticket) if opened.ticket else []:
            figures['course'] = [dict(vars(c), excess=c.excess, reached=c.reached) for c in course]
        save_json(figures, options.json)
