"""The ticket record: kept in plain types, struck off, compared with a model."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import st_mm
from st_mm.models import AtomicBlock, TokenMixer
from st_mm.prune import Masks, lowest, magnitude, prunable_weights
from st_mm.search import shrink
from st_mm.ticket import KEY, Ticket, library_versions, load_checkpoint


def build() -> nn.ModuleDict:
    return nn.ModuleDict(dict(a=AtomicBlock(4, 4, expand_ratio=1), b=TokenMixer(4, 3)))


def dead(a, b) -> dict[str, torch.Tensor]:
    return {
        'a': torch.tensor([i in a for i in range(12)]),
        'b': torch.tensor([i in b for i in range(3)]),
    }


def test_of_supernet() -> None:
    ticket = Ticket.of_supernet(build())
    assert ticket.total == {'a': dict(k3=4, k5=4, k7=4), 'b': dict(tokens=3)}
    assert ticket.units == {
        'a': dict(k3=[0, 1, 2, 3], k5=[0, 1, 2, 3], k7=[0, 1, 2, 3]),
        'b': dict(tokens=[0, 1, 2]),
    }
    assert ticket.masks == ticket.config == {}
    assert ticket.events == []
    assert ticket.versions['st_mm'] == st_mm.__version__


def test_records_share_nothing() -> None:
    first, second = Ticket(), Ticket()
    first.events.append({})
    first.units['a'] = {}
    assert second == Ticket()


def test_library_versions() -> None:
    versions = library_versions()
    assert versions['st_mm'] == st_mm.__version__
    assert versions['torch'].startswith(torch.__version__.split('+')[0])
    assert {'mmengine', 'mmcv'} <= versions.keys()
    assert all(isinstance(value, str) for value in versions.values())


def test_roundtrip_through_a_file(tmp_path) -> None:
    model = build()
    ticket = Ticket.of_supernet(model)
    ticket.remove(dead({0, 4, 5, 6, 7}, {1}))
    masks = Masks(prunable_weights(model))
    masks.update(lowest(magnitude(masks.weights), 0.5))
    ticket.masks = masks.state()
    ticket.config = dict(SearchHook=dict(rho=1e-4, input_shape=[3, 8, 8], end=None))
    ticket.events = [dict(kind='search', unit='epoch', t=1, removed=5, density=0.5)]
    path = tmp_path / 'ticket.pth'
    torch.save(
        dict(meta=dict(ticket=ticket.to_meta(), epoch=1), state_dict=model.state_dict()), path
    )
    checkpoint = load_checkpoint(path)
    assert checkpoint['meta']['epoch'] == 1
    assert checkpoint['state_dict'].keys() == model.state_dict().keys()
    back = Ticket.from_meta(checkpoint['meta'])
    for name in ('units', 'total', 'config', 'events', 'versions', 'removals'):
        assert getattr(back, name) == getattr(ticket, name), name
    assert back.masks.keys() == ticket.masks.keys()
    for name, keep in masks.keep.items():
        assert back.mask(name).dtype == torch.bool
        assert torch.equal(back.mask(name), keep.bool())


def test_from_meta_without_a_record() -> None:
    assert Ticket.from_meta({}) is None
    assert Ticket.from_meta(dict(epoch=3)) is None


def test_remove_keeps_the_original_indices() -> None:
    ticket = Ticket.of_supernet(build())
    ticket.remove(dead({0, 5, 6, 8, 9, 10, 11}, {1}))
    assert ticket.units == {
        'a': dict(k3=[1, 2, 3], k5=[0, 3], k7=[]),
        'b': dict(tokens=[0, 2]),
    }
    ticket.remove({'a': torch.tensor([False, True, False, False, True])})
    assert ticket.units == {'a': dict(k3=[1, 3], k5=[0], k7=[]), 'b': dict(tokens=[0, 2])}
    assert ticket.total == {'a': dict(k3=4, k5=4, k7=4), 'b': dict(tokens=3)}
    assert ticket.removals == [
        {'a': dict(k3=[0], k5=[1, 2], k7=[0, 1, 2, 3]), 'b': dict(tokens=[1])},
        {'a': dict(k3=[2], k5=[3], k7=[])},
    ]
    ticket.remove({'a': torch.zeros(3).bool()})
    assert len(ticket.removals) == 2  # nothing went


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=3), st.floats(0, 1))
def test_remove_follows_shrink(seeds, share) -> None:
    """The indices say which filters of the supernet the ticket's filters are."""
    model = build()
    original = copy.deepcopy(model.state_dict())
    ticket = Ticket.of_supernet(model)
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        gone = {
            name: torch.rand(model[name].unit_bn.weight.numel(), generator=generator) < share
            for name in ('a', 'b')
        }
        shrink(model, gone)
        ticket.remove(gone)
    ticket.check(model)
    assert Ticket.from_meta({KEY: ticket.to_meta()}) == ticket
    for kernel, indices in ticket.units['a'].items():
        name = f'a.depthwise.{kernel}.weight'
        assert torch.equal(model.state_dict()[name], original[name][indices])
        assert indices == sorted(indices)
    assert torch.equal(model['b'].queries, original['b.queries'][ticket.units['b']['tokens']])


@pytest.mark.parametrize(
    ('name', 'shape'), [('a', 13), ('a', 11), ('a', (1, 12)), ('c', 12), ('c', 0)], ids=str
)
def test_remove_refuses_a_mask_that_does_not_fit(name, shape) -> None:
    ticket = Ticket.of_supernet(build())
    before = copy.deepcopy(ticket.units)
    with pytest.raises(ValueError, match=f"units for '{name}', but the mask"):
        ticket.remove({'b': torch.ones(3).bool(), name: torch.ones(shape).bool()})
    assert ticket.units == before


def test_check() -> None:
    model = build()
    ticket = Ticket.of_supernet(model)
    ticket.check(model)
    shrink(model, {'a': torch.arange(12) == 5})
    with pytest.raises(ValueError, match=r"'k5': 4.* units for 'a'.*'k5': 3"):
        ticket.check(model)
    ticket.remove({'a': torch.arange(12) == 5})
    ticket.check(model)


def test_check_owners() -> None:
    ticket = Ticket.of_supernet(build())
    with pytest.raises(ValueError, match="None units for 'a'"):
        Ticket().check(build())
    with pytest.raises(ValueError, match="units for 'b', the weights say None"):
        ticket.check(nn.ModuleDict(dict(a=AtomicBlock(4, 4, expand_ratio=1))))
    with pytest.raises(ValueError, match="'a'"):
        ticket.check(
            nn.ModuleDict(
                dict(a=AtomicBlock(4, 4, kernel_sizes=(3, 5), expand_ratio=1), b=TokenMixer(4, 3))
            )
        )
    Ticket().check(nn.Linear(1, 1))


def test_a_record_of_another_version_says_so() -> None:
    meta = {KEY: dict(units={}, rooms=3, versions=dict(st_mm='9.9.9'))}
    with pytest.raises(ValueError, match=r'does not know \(rooms\): .* version 9\.9\.9'):
        Ticket.from_meta(meta)
