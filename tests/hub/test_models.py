"""Names lead to configs and weights, and the weights that ship are what their names say."""

import re

import pytest
import torch
from mmengine import Config
from mmengine.runner import CheckpointLoader

from st_mm.analysis.checkpoints import Opened, open_checkpoint
from st_mm.hub import (
    Model,
    config_or_path,
    find,
    models,
    root,
    weights_or_path,
    weights_path,
)
from st_mm.rewind import TicketInit
from st_mm.ticket import load_checkpoint

SHIPPED = [model for model in models().values() if model.weights]
NAME = 'supertickets-p90-slim_8b-30e_toy-streets-128x256'
WITHOUT = 'supertickets-p90-slim_8b-40e_camvid-192x256'
every_shipped = pytest.mark.parametrize('model', SHIPPED, ids=lambda model: model.name)


def test_names_lead_to_configs() -> None:
    assert all(model.config.is_file() for model in models().values())
    model = models()[NAME]
    assert find(NAME) == find(f'{NAME}.py') == model
    assert config_or_path(NAME) == config_or_path(f'{NAME}.py') == str(model.config)


def test_every_file_of_weights_has_a_name() -> None:
    assert {model.weights for model in SHIPPED} == set((root() / 'weights').glob('*.pth'))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no model 'toy-streets'; it has .*toy-streets"):
        find('toy-streets')
    with pytest.raises(ValueError, match=f'no model .*; it has .*{NAME}'):
        find(NAME.replace('8b', '16b'))
    with pytest.raises(ValueError, match=f'no weights of {WITHOUT} ship with st_mm'):
        weights_path(WITHOUT)
    with pytest.raises(ValueError, match='no weights of'):
        weights_or_path(WITHOUT)
    with pytest.raises(ValueError, match="no model 'nothing'"):
        weights_or_path('st_mm://nothing.pth')


def test_files_come_before_names(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).touch()
    assert weights_or_path(NAME) == config_or_path(NAME) == NAME
    assert weights_or_path('epoch_1.pth') == 'epoch_1.pth'
    assert config_or_path('mine.py') == 'mine.py'


@every_shipped
def test_mmengine_loads_what_ships(model: Model) -> None:
    loaded = CheckpointLoader.load_checkpoint(f'st_mm://{model.name}.pth', 'cpu')
    expected = load_checkpoint(model.weights)['state_dict']
    assert loaded['state_dict'].keys() == expected.keys()
    assert all(torch.equal(loaded['state_dict'][name], expected[name]) for name in expected)


@every_shipped
@pytest.mark.parametrize('text', ['st_mm://{}.pth', '{}'])
def test_a_network_begins_as_a_ticket_that_ships(model: Model, text: str) -> None:
    ours, theirs = (opened(model).supernet for _ in range(2))
    TicketInit(str(model.weights))(ours)
    TicketInit(text.format(model.name))(theirs)
    expected = ours.state_dict()
    assert all(torch.equal(tensor, expected[n]) for n, tensor in theirs.state_dict().items())


def test_a_ticket_that_does_not_ship_is_an_error_where_it_is_named() -> None:
    with pytest.raises(ValueError, match=f'no weights of {WITHOUT} ship with st_mm'):
        TicketInit(f'st_mm://{WITHOUT}.pth')


def opened(model: Model) -> Opened:
    return open_checkpoint(model.weights)


@every_shipped
def test_weights_are_small_and_say_nothing_of_a_machine(model: Model) -> None:
    assert model.weights.stat().st_size < 2**21
    checkpoint = load_checkpoint(model.weights)
    assert checkpoint.keys() == {'meta', 'state_dict'}
    kinds = {weight.dtype for weight in checkpoint['state_dict'].values()}
    assert kinds <= {torch.float32, torch.int64}
    assert re.findall(r"""['"](?:/|~|[A-Z]:\\)[^'"]*""", checkpoint['meta']['cfg']) == []


@every_shipped
def test_weights_were_trained_by_their_config(model: Model) -> None:
    checkpoint, config = opened(model), Config.fromfile(model.config)
    assert checkpoint.config.model == config.model
    assert checkpoint.config.train_cfg == config.train_cfg
    assert checkpoint.facts.epoch == config.train_cfg.max_epochs
    hooks = {hook['type'] for hook in config.custom_hooks}
    assert (checkpoint.ticket is not None) == ('ProgressivePruneHook' in hooks)
    if checkpoint.ticket:
        checkpoint.ticket.check(checkpoint.model)
        checkpoint.ticket.check_zeros(checkpoint.model.state_dict())
        ratio = next(hook.ratio for hook in config.custom_hooks if 'ratio' in hook)
        weights = [checkpoint.model.state_dict()[name] for name in checkpoint.ticket.masks]
        density = sum(int(w.count_nonzero()) for w in weights) / sum(w.numel() for w in weights)
        assert density == pytest.approx(1 - ratio, abs=1e-3)
