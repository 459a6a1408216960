"""A record is believed when no entry of it is wrong, and its weights agree."""

import copy

import pytest
import torch

from st_mm.prune.masks import pack
from st_mm.ticket import KEY, Ticket
from st_mm.ticket.validation import check_latent

RECORD = dict(
    units={'a': dict(k3=[0, 2], k5=[])},
    total={'a': dict(k3=3, k5=2)},
    masks={'w': dict(shape=[2, 3], bits=pack(torch.tensor([1, 0, 1, 1, 1, 0])))},
    config=dict(PruneHook=dict(ratio=0.5, skip=['x'])),
    events=[dict(kind='prune', unit='epoch', t=1, ratio=0.5)],
    versions=dict(st_mm='1.0'),
    removals=[{'a': dict(k5=[0])}, {'a': dict(k3=[], k5=[1])}],
)
WEIGHT = torch.tensor([[1.0, 0.0, 2.0], [3.0, 4.0, 0.0]])


def read(record: object) -> Ticket:
    found = Ticket.from_meta({KEY: record})
    assert found is not None
    return found


def test_a_right_record_is_read() -> None:
    ticket = read(copy.deepcopy(RECORD))
    assert ticket.removals == RECORD['removals']
    ticket.check_zeros(dict(w=WEIGHT))
    assert ticket.mask('w').sum() == 4


WRONG = [
    [],
    'text',
    dict(RECORD, units=[]),
    dict(RECORD, units={}),
    dict(RECORD, units={'a': dict(k3=[2, 0], k5=[])}),
    dict(RECORD, units={'a': dict(k3=[0, 0], k5=[])}),
    dict(RECORD, units={'a': dict(k3=[0, 3], k5=[])}),
    dict(RECORD, units={'a': dict(k3=[-1, 2], k5=[])}),
    dict(RECORD, units={'a': dict(k3=[True, 2], k5=[])}),
    dict(RECORD, units={'a': dict(k3=(0, 2), k5=[])}),
    dict(RECORD, units={'a': dict(k5=[], k3=[0, 2])}),  # the order of the units
    dict(RECORD, units={'a\x1b': {}}, total={'a\x1b': {}}),
    dict(RECORD, total={'a': dict(k3=3.0, k5=2)}),
    dict(RECORD, masks={'w': dict(shape=[2, 3])}),
    dict(RECORD, masks={'w': dict(shape=[2, 3], bits=[1])}),
    dict(RECORD, masks={'w': dict(shape=[2, 3], bits=torch.ones(1))}),
    dict(RECORD, masks={'w': dict(shape=[2, 3], bits=torch.ones(2, dtype=torch.uint8))}),
    dict(RECORD, masks={'w': dict(shape=[2**40, 2**40], bits=RECORD['masks']['w']['bits'])}),
    dict(RECORD, masks={'w': dict(shape=[-2, -3], bits=RECORD['masks']['w']['bits'])}),
    dict(RECORD, config=dict(PruneHook=3)),
    dict(RECORD, config=dict(PruneHook=dict(skip='\x1b[2J'))),
    dict(RECORD, config=dict(PruneHook=dict(x=torch.ones(1)))),
    dict(RECORD, events=[dict(kind='prune', unit='epoch', t=1)]),
    dict(RECORD, events=[dict(kind='prune', unit='day', t=1, ratio=0.5)]),
    dict(RECORD, events=[dict(kind='prune', unit='epoch', t=1, ratio='0.5')]),
    dict(RECORD, versions=dict(st_mm='1\0')),
    dict(RECORD, removals={}),
    dict(RECORD, removals=[[]]),
    dict(RECORD, removals=[{'b': dict(k3=[1])}]),
    dict(RECORD, removals=[{'a': [1]}]),
    dict(RECORD, removals=[{'a': dict(k7=[1])}]),
    dict(RECORD, removals=[{'a': dict(k3=['1'])}]),
    dict(RECORD, removals=[{'a': dict(k3=[3])}]),
    dict(RECORD, removals=[{'a': dict(k5=[1, 0])}]),
    dict(RECORD, removals=[{'a': dict(k3=[2])}]),  # which is kept
    dict(RECORD, removals=[{'a': dict(k5=[1])}, {'a': dict(k5=[0, 1])}]),  # twice
]


def test_a_record_of_an_older_version_is_read() -> None:
    record = copy.deepcopy(RECORD)
    del record['removals']
    assert read(record).removals == []


@pytest.mark.parametrize('record', WRONG, ids=range(len(WRONG)))
def test_a_wrong_record_is_refused(record) -> None:
    with pytest.raises(ValueError, match='the ticket record'):
        read(record)


@pytest.mark.parametrize(
    ('state', 'match'),
    [
        ({}, "'w', which is not in the weights"),
        (dict(w=WEIGHT.T), 'has a mask of shape'),
        (dict(w=WEIGHT + 1), 'not zero'),
    ],
)
def test_weights_that_contradict_it(state, match) -> None:
    with pytest.raises(ValueError, match=match):
        read(RECORD).check_zeros(state)


def test_counts_without_a_model() -> None:
    weights = {'a.depthwise.k3.weight': torch.ones(2, 1, 3, 3)}
    read(RECORD).check_counts(weights)
    with pytest.raises(ValueError, match="2 units for k3 of 'a'"):
        read(RECORD).check_counts({'a.depthwise.k3.weight': torch.ones(3, 1, 3, 3)})


def test_values_under_the_masks() -> None:
    masks, right = RECORD['masks'], dict(w=torch.ones(2))
    check_latent([right, right], masks)
    for wrong in (
        None,
        [b'bytes'],
        [{}],
        [dict(v=torch.ones(2))],
        [dict(w=[1.0, 1.0])],
        [dict(w=torch.ones(3))],
        [dict(w=torch.ones(2).int())],
        [dict(w=torch.ones(2) / 0)],
        [right, dict(w=torch.ones(2).to('meta'))],
    ):
        with pytest.raises(ValueError, match='under'):
            check_latent(wrong, masks)


def test_values_under_soft_masks_are_of_all_weights() -> None:
    masks = RECORD['masks']
    count = torch.Size(masks['w']['shape']).numel()
    whole = [dict(w=torch.ones(count))]
    part = dict(w=torch.ones(2))
    check_latent(whole, masks, dict(w=0.5))
    check_latent([*whole, part], masks, dict(w=0.5))
    for latent, thresholds in (
        (whole, None),
        ([part], dict(w=0.5)),
        (whole * 2, dict(w=0.5)),
        (whole, dict(w=-0.5)),
        (whole, dict(w=float('nan'))),
        (whole, dict(w='0.5')),
        (whole, dict(w=0.5, v=0.5)),
        (whole, [0.5]),
    ):
        with pytest.raises(ValueError, match=r'under|threshold'):
            check_latent(latent, masks, thresholds)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_what_a_diverged_training_leaves_is_not_called_damage(value: float) -> None:
    event = dict(kind='search', unit='epoch', t=1, removed=0, penalty=value)
    with pytest.raises(ValueError, match=r'with penalty .*: the training had diverged'):
        read(dict(RECORD, events=[event]))
    masks = RECORD['masks']
    with pytest.raises(ValueError, match=r'under the mask .*: the training had diverged'):
        check_latent([dict(w=torch.full((2,), value))], masks)
    with pytest.raises(ValueError, match=r'threshold .*: the training had diverged'):
        check_latent([dict(w=torch.ones(6))], masks, dict(w=value))
