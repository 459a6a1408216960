"""What a config says of a criterion becomes one, and goes back into the record."""

import pytest
import torch
from torch import nn

from st_mm.prune import NM, ChannelBlock, Criterion, Evidence, Rule, lowest, magnitude

WEIGHTS = {
    'stem.weight': torch.arange(1.0, 25).view(4, 6),
    'body.weight': torch.arange(25.0, 73).view(4, 12),
}
NOTHING = Evidence(nn.Identity(), lambda: [], lambda model, batch: model)


def test_defaults_are_global_magnitude() -> None:
    criterion = Criterion.build()
    masks = criterion.choose(WEIGHTS, NOTHING, 0.5)
    expected = lowest(magnitude(WEIGHTS), 0.5)
    assert all(torch.equal(masks[name], expected[name]) for name in WEIGHTS)
    assert not masks['stem.weight'].any()  # the smallest of all


@pytest.mark.parametrize(
    'arguments',
    [
        {},
        dict(score='random'),
        dict(score=dict(type='snip', batches=3, rounds=2), scope='erk'),
        dict(scope='layer', rules=[dict(names='stem*', ratio=0.2), dict(names='*')]),
        dict(pattern='2:4', scope='layer'),
        dict(pattern=dict(type='ChannelBlock', size=2)),
    ],
    ids=str,
)
def test_the_record_builds_the_same(arguments) -> None:
    criterion = Criterion.build(**arguments)
    assert Criterion.build(**criterion.config()) == criterion


def test_parts_are_built() -> None:
    criterion = Criterion.build(
        dict(type='random', seed=3), rules=[dict(names='a*', ratio=0.1)], pattern='1:4'
    )
    assert (criterion.score, dict(criterion.options)) == ('random', dict(seed=3))
    assert criterion.rules == (Rule('a*', 0.1),)
    assert criterion.pattern == NM(1, 4)
    assert Criterion.build(pattern=dict(type='ChannelBlock')).pattern == ChannelBlock(4)


def test_what_a_pattern_does_not_fit_is_left_out() -> None:
    assert Criterion.build(pattern='2:4').fitting(WEIGHTS).keys() == {'body.weight'}
    assert Criterion.build().fitting(WEIGHTS).keys() == WEIGHTS.keys()


def test_masked_weights_go_first() -> None:
    where = torch.zeros(4, 12, dtype=torch.bool)
    where[3] = True  # of the largest magnitudes, masked already
    held = {'body.weight': (where, WEIGHTS['body.weight'])}
    masks = Criterion.build().choose(WEIGHTS, NOTHING, 0.5, masked=held)
    assert not masks['body.weight'][3].any()
    assert sum(int((~keep).sum()) for keep in masks.values()) == 36


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(score='magnitud'), r'^score must be one of .*magnitude.*, got .magnitud.'),
        (dict(score=dict(batches=3)), r'^score must be one of'),
        (dict(score=dict(type='snip', batches=0)), r'^batches must be an integer of at least 1'),
        (dict(score=dict(type='snip', rounds=True)), r'^rounds must be an integer of at least 1'),
        (dict(score=dict(type='magnitude', sed=1)), r'^score must have options that magnitude'),
        (dict(scope='globl'), r'scope'),
        (dict(pattern='2-4'), r'pattern'),
    ],
    ids=str,
)
def test_bad_configs(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        Criterion.build(**arguments)


def test_a_pattern_has_a_ratio_of_its_own() -> None:
    Criterion.build(pattern='2:4').check(0.5)
    with pytest.raises(ValueError, match=r'ends at a ratio of 0\.5, but the ratio is 0\.9'):
        Criterion.build(pattern='2:4').check(0.9)
