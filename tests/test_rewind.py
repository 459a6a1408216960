"""A ticket's architecture and masks start from any weights of the run that drew it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine import Config
from mmengine.model import BaseModule
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS
from torch import nn

from st_mm.rewind import TicketInit, draw_again, read_ticket, surplus_units
from st_mm.ticket import KEY, LATENT, Ticket, load_checkpoint, plain_state
from st_mm.units import find_owners


@pytest.fixture(scope='module')
def lottery(tiny_config: Callable[..., Config], tmp_path_factory) -> Path:
    """A run of three epochs that keeps its initial weights and ends in a ticket."""
    work_dir = tmp_path_factory.mktemp('lottery') / 'run'
    config = tiny_config(work_dir, prune=dict(interval=1, step=0.3, end=3), reactivate=None)
    config.custom_hooks.append(dict(type='InitialCheckpointHook'))
    config.train_cfg.max_epochs = 3
    config.custom_hooks[1].interval = 1
    Runner.from_cfg(config).train()
    config.dump(work_dir / 'config.py')
    return work_dir


def _build(lottery: Path, **init_cfg: str) -> nn.Module:
    config = Config.fromfile(lottery / 'config.py')
    init_default_scope('mmseg')
    config.model.init_cfg = dict(type='Ticket', checkpoint=str(lottery / 'epoch_3.pth'), **init_cfg)
    model = MODELS.build(config.model)
    model.init_weights()
    return model


def test_initial_weights_are_those_before_the_first_step(lottery: Path) -> None:
    initial = load_checkpoint(lottery / 'initial.pth')
    assert (initial['meta']['epoch'], initial['meta']['iter']) == (0, 0)
    assert 'optimizer' not in initial
    ticket = Ticket.from_meta(initial['meta'])
    assert ticket.units
    assert not ticket.masks
    assert not ticket.events
    state = initial['state_dict']
    for name, tensor in state.items():
        if name.endswith('running_mean'):
            assert not tensor.any(), name
    assert torch.equal(state['backbone.stem.0.bn.weight'], torch.ones(4))


@pytest.mark.parametrize('weights', ['initial.pth', 'epoch_1.pth', 'epoch_2.pth'])
def test_weights_are_those_of_the_original_units(lottery: Path, weights: str) -> None:
    source = load_checkpoint(lottery / weights)
    present = Ticket.from_meta(source['meta']).units
    ticket = read_ticket(lottery / 'epoch_3.pth')
    model = _build(lottery, weights=str(lottery / weights))
    ticket.check(model)
    assert len(surplus_units(ticket, present)) == len(find_owners(model))
    removed = 0
    for name, owner in find_owners(model).items():
        start = 0
        rows = []
        for group, indices in present[name].items():
            place = {unit: start + position for position, unit in enumerate(indices)}
            rows += [place[unit] for unit in ticket.units[name][group]]
            start += len(indices)
        removed += start - len(rows)
        full = source['state_dict'][f'{name}.expand.weight']
        assert torch.equal(owner.expand.weight, full[rows]), name
    assert removed or weights == 'epoch_2.pth'
    head = 'decode_head.conv_seg.weight'
    assert torch.equal(model.state_dict()[head], source['state_dict'][head])


def test_trained_weights_are_the_tickets(lottery: Path) -> None:
    expected = load_checkpoint(lottery / 'epoch_3.pth')['state_dict']
    state = _build(lottery).state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


def test_random_weights_are_not_those_of_the_seed(lottery: Path) -> None:
    """A training with the seed of the one that drew the ticket does not begin with its weights."""
    ticket = read_ticket(lottery / 'epoch_3.pth')
    torch.manual_seed(7)
    model = _build(lottery, weights='random')
    after = torch.rand(3)
    ticket.check(model)
    torch.manual_seed(7)
    again = _build(lottery, weights='random').state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.rand(3), after)
    torch.manual_seed(7)
    fresh = MODELS.build(Config.fromfile(lottery / 'config.py').model)
    fresh.init_weights()
    owners = find_owners(fresh)
    compared = 0
    for name, owner in find_owners(model).items():
        if first := ticket.units[name]['k3']:
            ours = owner.expand.weight[: len(first)]
            theirs = owners[name].expand.weight[first]
            assert ours.shape == theirs.shape
            assert not (ours == theirs).any(), name
            compared += 1
    assert compared
    spread = fresh.decode_head.conv_seg.weight.std()
    torch.testing.assert_close(model.decode_head.conv_seg.weight.std(), spread, rtol=0.5, atol=0)
    for name, tensor in fresh.state_dict().items():  # norms and biases begin as ever
        if tensor.dim() == 1 and len(tensor) == len(again[name]):
            assert torch.equal(tensor, again[name]), name


def test_random_weights_come_from_the_other_initializers() -> None:
    """What a list of initializers says beside the ticket holds, at other numbers."""
    layer = ConvModule(3, 64, 3)
    seen = []

    class Part(BaseModule):
        def __init__(self) -> None:
            super().__init__([dict(type='Constant', layer='Conv2d', val=3.0), dict(type='Ticket')])
            self.layer, self.plain = layer, nn.Conv2d(3, 3, 1)

    part = Part()
    torch.manual_seed(3)
    numbers = torch.get_rng_state()
    draw_again(part)
    assert torch.equal(torch.get_rng_state(), numbers)
    assert (part.plain.weight == 3.0).all()
    part.init_cfg = None
    for _ in range(2):
        draw_again(part)
        seen.append(layer.conv.weight.detach().clone())
    assert torch.equal(*seen)
    # as ConvModule draws its weights: std sqrt(2 / fan_out)
    torch.testing.assert_close(seen[0].std().item(), (2 / (64 * 9)) ** 0.5, rtol=0.1, atol=0)


def test_later_weights_lack_units(lottery: Path) -> None:
    early, late = read_ticket(lottery / 'epoch_1.pth'), read_ticket(lottery / 'epoch_3.pth')
    assert surplus_units(late, early.units)
    with pytest.raises(ValueError, match='not there to start from'):
        surplus_units(early, late.units)


@pytest.mark.parametrize('shuffle', [False, True])
@pytest.mark.parametrize('weights', ['random', 'initial.pth'])
def test_retraining_a_rewound_ticket(
    lottery: Path, tiny_config: Callable[..., Config], tmp_path: Path, weights: str, shuffle: bool
) -> None:
    """RR-Init, LT-Init and ST w/ RP: architecture and density stay, masked weights are zeros."""
    path = str(lottery / 'epoch_3.pth')
    config = tiny_config(tmp_path / 'run', search=None, prune=None, reactivate=None)
    weights = weights if weights == 'random' else str(lottery / weights)
    config.model.init_cfg = dict(type='Ticket', checkpoint=path, weights=weights)
    config.custom_hooks.append(dict(type='FixedMaskHook', shuffle=shuffle))
    config.train_cfg.max_epochs = 1
    config.param_scheduler[0].total_steps = 1
    Runner.from_cfg(config).train()
    trained = load_checkpoint(tmp_path / 'run' / 'epoch_1.pth')
    ticket, before = Ticket.from_meta(trained['meta']), read_ticket(path)
    assert ticket.units == before.units
    kept = sum(int(ticket.mask(name).sum()) for name in ticket.masks)
    assert kept == sum(int(before.mask(name).sum()) for name in before.masks)
    same = all(torch.equal(ticket.mask(name), before.mask(name)) for name in ticket.masks)
    assert same != shuffle
    for name in ticket.masks:
        assert not plain_state(trained)[name][~ticket.mask(name)].any()


def test_weights_at_random_places_have_the_values_from_before_they_were_masked(
    lottery: Path, tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    source = load_checkpoint(lottery / 'epoch_3.pth')
    before, trained, past = (
        read_ticket(lottery / 'epoch_3.pth'),
        plain_state(source),
        source[LATENT],
    )
    config = tiny_config(tmp_path / 'run', search=None, prune=None, reactivate=None)
    config.model.init_cfg = dict(type='Ticket', checkpoint=str(lottery / 'epoch_3.pth'))
    config.custom_hooks += [
        dict(type='FixedMaskHook', shuffle=True),
        dict(type='InitialCheckpointHook'),
    ]
    config.train_cfg.max_epochs = config.param_scheduler[0].total_steps = 1
    Runner.from_cfg(config).train()
    initial = plain_state(load_checkpoint(tmp_path / 'run' / 'initial.pth'))
    ticket, came_back = read_ticket(tmp_path / 'run' / 'epoch_1.pth'), 0
    for name in before.masks:
        kept, lives = before.mask(name), ticket.mask(name)
        values = trained[name].clone()
        values[~kept] = past[0][name]
        assert torch.equal(initial[name], values * lives), name
        came_back += int((initial[name][lives & ~kept] != 0).sum())
    assert came_back


def test_a_file_without_a_record_is_refused(lottery: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(lottery / 'epoch_3.pth')
    checkpoint['meta'].pop(KEY)
    torch.save(checkpoint, tmp_path / 'plain.pth')
    with pytest.raises(ValueError, match=r'plain\.pth has no ticket record'):
        read_ticket(tmp_path / 'plain.pth')


def test_pruning_a_ticket_further_keeps_its_units_and_zeros(
    lottery: Path, tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    path = str(lottery / 'epoch_3.pth')
    config = tiny_config(tmp_path / 'run', search=None, prune=None, reactivate=None)
    config.model.init_cfg = dict(type='Ticket', checkpoint=path, weights='random')
    schedule = dict(type='OneShot', ratio=0.95, at=1)
    config.custom_hooks.append(dict(type='PruneHook', schedule=schedule, calibration_batches=0))
    config.train_cfg.max_epochs = config.param_scheduler[0].total_steps = 2
    Runner.from_cfg(config).train()
    ticket = read_ticket(tmp_path / 'run' / 'epoch_2.pth')
    before = read_ticket(path)
    assert (ticket.units, ticket.total) == (before.units, before.total)
    kinds = [event['kind'] for event in ticket.events]
    assert kinds == ['inherit', 'prune']
    for name in before.masks:
        assert not (ticket.mask(name) & ~before.mask(name)).any(), name


def test_plain_training_of_a_ticket_with_ema(
    lottery: Path, tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    """EMAHook has copied the whole supernet before the ticket is cut out of it."""
    config = tiny_config(tmp_path / 'run', search=None, prune=None, reactivate=None)
    path = lottery / 'epoch_3.pth'
    config.model.init_cfg = dict(type='Ticket', checkpoint=str(path), weights='random')
    config.train_cfg.max_epochs = config.param_scheduler[0].total_steps = 1
    Runner.from_cfg(config).train()
    state = load_checkpoint(tmp_path / 'run' / 'epoch_1.pth')['state_dict']
    for name, tensor in load_checkpoint(path)['state_dict'].items():
        assert state[name].shape == tensor.shape, name


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('checkpoint', 3),
        ('checkpoint', ''),
        ('weights', None),
        ('weights', ['random']),
        ('prefix', 3),
        ('prefix', dict(backbone=1)),
        ('new', 'neck'),
        ('new', [3]),
    ],
)
def test_arguments_are_checked_where_they_are_given(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f'^{name} must be'):
        TicketInit(**{'checkpoint': 'ticket.pth', name: value})
