"""ticket.py reinit: the architecture and masks of a ticket, with other weights."""

import argparse
import copy
import logging
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import set_random_seed
from rich.console import Console
from torch import nn

from st_mm.analysis import tables
from st_mm.analysis.checkpoints import build_model
from st_mm.command_line import NOT_RUN, add_config
from st_mm.files import check_output
from st_mm.prune import Masks, prunable_weights
from st_mm.rewind import rewind
from st_mm.ticket import KEY, load_checkpoint, plain_state
from st_mm.units.loading import check_fit

from .common import (
    add_command,
    add_source_and_target,
    open_ticket,
    save,
)

RANDOM = 'random'
NOTE = (
    "To train the result, set load_from to it and add dict(type='FixedMaskHook') to custom_hooks. "
    + NOT_RUN
)


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        reinit,
        examples=[
            'reinit ticket.pth random.pth --weights random --seed 1',
            'reinit ticket.pth early.pth --weights work_dirs/NAME/initial.pth',
        ],
        note=NOTE,
        help="a ticket's architecture and masks with random, initial or early weights",
        description='Write a checkpoint with the units and masks of a ticket and with weights from '
        'elsewhere, masked ones zero: lottery tickets, rewound.',
    )
    add_source_and_target(parser)
    add_config(parser)
    parser.add_argument(
        '--weights', required=True, metavar='random|CKPT',
        help="'random' for a fresh initialization by the ticket's config (its files of pretrained "
        'weights aside), else a checkpoint of the same run that still has all units of the ticket',
    )  # fmt: skip
    parser.add_argument('--seed', type=int, default=0, help='of the random weights (default: 0)')


def reinit(options: argparse.Namespace, console: Console) -> None:
    """Write the checkpoint and print sizes."""
    weights = None if options.weights == RANDOM else options.weights
    check_output(options.target, [options.source, weights, options.config], options.force)
    opened = open_ticket(options.source, options)
    meta = opened.meta
    before = options.source.stat().st_size
    if options.weights == RANDOM:
        set_random_seed(options.seed)
        model, times = initialized(opened.config), dict(epoch=0, iter=0)
    else:
        model, times = opened.supernet, load_checkpoint(options.weights)['meta']
        _check_weights(model, options.weights)
    rewind(model, opened.ticket, options.weights)
    Masks(prunable_weights(model, frozen=True)).load(opened.ticket.masks, None)
    meta |= {name: times.get(name) for name in ('epoch', 'iter')} | {KEY: opened.ticket.to_meta()}
    save(dict(meta=meta, state_dict=dict(model.state_dict())), options.target)
    after = options.target.stat().st_size
    console.print(tables.sizes([(options.source, before), (options.target, after)]))


def _check_weights(model: nn.Module, path: str) -> None:
    """Refuse weights of another network by the first tensor that differs."""
    try:
        check_fit(model, plain_state(load_checkpoint(path)), '', required=True)
    except RuntimeError as error:
        raise ValueError(f'{path}: {error}') from error


def initialized(config: Config) -> nn.Module:
    """The supernet of a config as its training starts, had it no weights of other trainings."""
    config = copy.deepcopy(config)
    _drop_files(config.model)
    model = build_model(config)  # which drops how the model and its backbone are initialized
    for name, part in {'': config.model, 'backbone': config.model.get('backbone') or {}}.items():
        if part.get('init_cfg'):
            model.get_submodule(name).init_cfg = part['init_cfg']
    MMLogger.get_current_instance().setLevel(logging.WARNING)  # a line per tensor otherwise
    with DefaultScope.overwrite_default_scope(config.get('default_scope')):
        model.init_weights()
    return model


def _drop_files(node: Any) -> None:
    """Take initializers that read a file out of a config; a class is left its own then."""
    if isinstance(node, dict):
        if own := node.pop('init_cfg', None):
            own = [entry for entry in ([own] if isinstance(own, dict) else own) if _draws(entry)]
            node |= dict(init_cfg=own) if own else {}
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            _drop_files(child)


def _draws(initializer: dict[str, Any]) -> bool:
    name = str(initializer['type']).rpartition('.')[2]
    return name not in ('Pretrained', 'PretrainedInit', 'Ticket', 'TicketInit')
