"""What a config would take from a ticket, without training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from st_mm.hooks.labels import differ
from st_mm.models.building import build_model
from st_mm.rewind import read_record
from st_mm.ticket import load_checkpoint, plain_state
from st_mm.transfer import HEADER, match, rows

from .table import Table


def preview(path: str | Path, config: Config) -> Table:
    """Say part by part what the model of a config takes from a ticket.

    Args:
        path (str | Path): The ticket.
        config (Config): A whole config. What its ``init_cfg`` of type ``Ticket`` says of ``prefix``
            and ``new`` counts, for the model or for a part of it.

    Returns:
        Table: A row for each part, in weights.

    Raises:
        ValueError: If the ticket does not fit.
    """
    checkpoint = load_checkpoint(path)
    record, state = read_record(checkpoint, path), plain_state(checkpoint)
    model = build_model(config)
    place, init = _init_of(config.model)
    options = {key: init[key] for key in ('prefix', 'new') if key in init}
    if not init:  # then load_from brings it, beside the data
        theirs = checkpoint['meta'].get('dataset_meta') or {}
        options['own_head'] = differ(_metainfo(config), theirs)
    shared = match(model.get_submodule(place), state, str(path), **options)
    ticket = shared.restrict(record)
    found = rows(shared, ticket, state)
    if place:  # a part by itself
        found = [(place if row[0] == 'module' else row[0], *row[1:]) for row in found]
    notes = ('in weights; density is that of the masked layers', f'the ticket: {path}')
    title = f'What {type(model).__name__} takes from the ticket'
    return Table(HEADER, tuple(found), title, notes, frozenset({0, 1}))


def _init_of(model: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Where a model is initialized as a ticket, and how; an empty dict if nowhere."""
    for place, part in (('', model), *model.items()):
        found = part.get('init_cfg') if isinstance(part, Mapping) else None
        for init in found if isinstance(found, list) else [found]:
            if init and str(init.get('type')).endswith('Ticket'):
                return place, init
    return '', {}


def _metainfo(config: Config) -> dict[str, Any]:
    """Classes or keypoints of the training data as its class names them."""
    dataset = config.get('train_dataloader', {}).get('dataset', {})
    with DefaultScope.overwrite_default_scope(config.get('default_scope')):
        kind = DATASETS.get(dataset.get('type', ''))
    return {**getattr(kind, 'METAINFO', {}), **(dataset.get('metainfo') or {})}
