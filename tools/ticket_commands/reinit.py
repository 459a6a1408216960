"""ticket.py reinit: the architecture and masks of a ticket, with other weights."""

import argparse
import logging
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import set_random_seed
from rich.console import Console
from torch import nn

from st_mm.analysis import tables
from st_mm.analysis.checkpoints import build_model
from st_mm.models.loading import check_fit
from st_mm.prune import Masks, prunable_weights
from st_mm.rewind import plain_state, rewind
from st_mm.ticket import KEY, load_checkpoint

from .common import (
    RUN_AS_PYTHON,
    add_command,
    add_source_and_target,
    check_target,
    open_ticket,
    save,
)

RANDOM = 'random'
NOTE = (
    """
To train the result, set load_from to it and add dict(type='FixedMaskHook') to custom_hooks.
"""
    + RUN_AS_PYTHON
)


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
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
    parser.add_argument(
        '--weights', required=True, metavar='random|CKPT',
        help="'random' for a fresh initialization by the ticket's config (its files of pretrained "
        'weights aside), else a checkpoint of the same run that still has all units of the ticket',
    )  # fmt: skip
    parser.add_argument('--seed', type=int, default=0, help='of the random weights (default: 0)')


def reinit(options: argparse.Namespace, console: Console) -> None:
    """Writes the checkpoint, prints sizes."""
    check_target(options)
    opened = open_ticket(options.source)
    meta = load_checkpoint(options.source)['meta']
    before = options.source.stat().st_size
    if options.weights == RANDOM:
        set_random_seed(options.seed)
        model, times = initialized(opened.config), dict(epoch=0, iter=0)
    else:
        model, times = opened.supernet, load_checkpoint(options.weights)['meta']
        _check_weights(model, options.weights)
    rewind(model, opened.ticket, options.weights)
    Masks(prunable_weights(model)).load(opened.ticket.masks, None)
    meta |= {name: times.get(name) for name in ('epoch', 'iter')} | {KEY: opened.ticket.to_meta()}
    save(dict(meta=meta, state_dict=model.state_dict()), options.target)
    after = options.target.stat().st_size
    console.print(tables.sizes([(options.source, before), (options.target, after)]))


def _check_weights(model: nn.Module, path: str) -> None:
    """Refuses weights of another network by the first tensor that differs."""
    try:
        check_fit(model, plain_state(load_checkpoint(path)), '', required=True)
    except RuntimeError as error:
        raise ValueError(f'{path}: {error}') from error


def initialized(config: Config) -> nn.Module:
    """The supernet of a config as its training starts, had it no weights of other trainings."""
    model = build_model(config)  # which drops how the model and its backbone are initialized
    parts = {'': config.model, 'backbone': config.model.get('backbone') or {}}
    for name, part in parts.items():
        if own := _without_files(part.get('init_cfg')):
            model.get_submodule(name).init_cfg = own
    for module in model.modules():
        if getattr(module, 'init_cfg', None):
            module.init_cfg = _without_files(module.init_cfg)
    MMLogger.get_current_instance().setLevel(logging.WARNING)  # a line per tensor otherwise
    with DefaultScope.overwrite_default_scope(config.get('default_scope')):
        model.init_weights()
    return model


def _without_files(init_cfg: Any) -> list[Mapping[str, Any]]:
    """The initializers that draw weights, without those that read them from a file."""
    entries = [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg or []
    files = ('Pretrained', 'PretrainedInit', 'Ticket', 'TicketInit')
    return [entry for entry in entries if str(entry['type']).rpartition('.')[2] not in files]
