"""How a ticket was drawn, in words."""

import pytest

from st_mm.analysis.wording import describe_events, describe_prune, describe_schedule
from st_mm.hooks import ProgressivePruneHook, PruneHook


def test_schedule_in_words():
    pruner = ProgressivePruneHook(
        ratio=0.9, interval=500, end=4000, skip=['backbone.stem*'], by_epoch=False
    )
    config = dict(
        SearchHook=dict(by_epoch=True, interval=10, rho=1.4e-4, warmup=25, threshold=1e-3),
        ProgressivePruneHook=pruner.config(),
        ReactivateHook=dict(on='search', mode='latent', scope='searched'),
    )
    search, prune, free = describe_schedule(config)

    assert search.startswith('search every 10 epochs')
    assert prune == (
        'prune every 500 iterations: 10% more, up to 90%, the last at 4000; by magnitude; '
        'skips backbone.stem*'
    )
    assert 'after search steps' in free
    assert describe_schedule({}) == ['none']


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (
            dict(schedule=dict(type='OneShot', ratio=0.5, at=0), pattern='2:4'),
            'prune once, at epoch 0: 50%; by magnitude, pattern NM(2, 4)',
        ),
        (
            dict(
                schedule=dict(type='Cubic', ratio=0.8, end=9, interval=3),
                score=dict(type='synflow', rounds=100),
                scope='erk',
            ),
            'prune every 3 epochs from 0: along a cubic to 80%, the last at 9; by synflow in 100 '
            'rounds, scope erk',
        ),
        (
            dict(
                schedule=dict(type='Constant', ratio=0.8, interval=1),
                rules=[dict(names='*.stem.*', ratio=0.3)],
            ),
            'hold 80% from epoch 0 on, new masks every epoch; by magnitude; rules for *.stem.*',
        ),
    ],
)
def test_prunes_in_words(arguments, words):
    assert describe_prune(PruneHook(**arguments).config()) == words


def test_events_in_words(drawn):
    assert describe_events(drawn[2].events) == (
        '1 search step (118 units removed), 1 prune (the last at epoch 3, to 50%)'
    )
    assert describe_events([]) == 'none yet'
