"""A run stopped at any checkpoint and resumed ends bit for bit as one that never stopped.

mmengine 0.10.7 restores weights, EMA, optimizer, schedulers and counters. What it does not restore
the toy runs do not need:

- The position in the data. Each epoch's order follows from the seed and the epoch; the iteration
  loop instead begins the data anew and skips as many batches as it has trained on. That ends at
  the same place where the config has a seed, as here. Without one the samplers are built, with a
  seed drawn at random, before the checkpoint's seed is read.
- The random state, of augmentations and dropout. These runs have neither, and what st_mm draws
  itself, the calibration batches, follows from the seed and the iteration.
"""

from collections import defaultdict
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
from mmengine import Config
from mmengine.runner import Runner

from st_mm.ticket import KEY, load_checkpoint

EPOCHS = 6
ITERATIONS = 7  # no multiple of an interval
BY_ITERATION = dict(
    search=dict(interval=3, by_epoch=False),
    prune=dict(interval=2, step=0.3, end=6, by_epoch=False),
    train_cfg=dict(_delete_=True, type='IterBasedTrainLoop', max_iters=ITERATIONS, val_interval=3),
    # 3 of 8 samples: a resumed run starts in the middle of a pass through the data
    train_dataloader=dict(batch_size=3, sampler=dict(type='InfiniteSampler')),
    param_scheduler=[dict(type='OneCycleLR', eta_max=0.02, total_steps=ITERATIONS, by_epoch=False)],
    default_hooks=dict(checkpoint=dict(by_epoch=False)),
    log_processor=dict(by_epoch=False),
)
RECIPES = {
    'adam': {},
    'adamw': dict(optim_wrapper=dict(optimizer=dict(type='AdamW', weight_decay=0.05))),
    'target': dict(search=dict(target=dict(macs='20%'), threshold=0.97)),
    'iterations': BY_ITERATION,
    'iterations-ema-of-parameters': dict(**BY_ITERATION, ema=dict(update_buffers=False)),
    'straight-through': dict(prune=dict(straight_through='hard'), reactivate=None),
    'straight-through-soft': dict(
        BY_ITERATION, prune=BY_ITERATION['prune'] | dict(straight_through='soft'), reactivate=None
    ),
}
EVENTS = dict(
    epoch={
        1: ['prune'],
        2: ['search', 'reactivate', 'prune'],
        3: ['prune'],
        4: ['search', 'reactivate', 'prune'],
        5: ['prune'],
        6: ['search', 'refit'],
    },
    iter={
        2: ['prune'],
        3: ['search', 'reactivate'],
        4: ['prune'],
        6: ['search', 'reactivate', 'prune'],
    },
)
STOPS = [
    (recipe, f'{unit}_{t}.pth', f'{unit}_{end}.pth')
    for recipe, changes in RECIPES.items()
    for unit, end in [('iter', ITERATIONS) if 'train_cfg' in changes else ('epoch', EPOCHS)]
    for t in range(1, end)
]


@pytest.fixture(scope='module')
def whole(
    tiny_config: Callable[..., Config], ticket_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Work dir, by recipe, of an uninterrupted run that saved a checkpoint at every moment."""
    done = {'adam': ticket_run}

    def run(recipe: str) -> Path:
        if recipe not in done:
            done[recipe] = tmp_path_factory.mktemp(recipe) / 'run'
            Runner.from_cfg(tiny_config(done[recipe], **deepcopy(RECIPES[recipe]))).train()
        return done[recipe]

    return run


@pytest.mark.slow
@pytest.mark.parametrize(('recipe', 'stop', 'end'), STOPS)
def test_resumed(
    recipe: str,
    stop: str,
    end: str,
    whole: Callable[[str], Path],
    tiny_config: Callable[..., Config],
    assert_same_end: Callable[[Path, Path], None],
    tmp_path: Path,
) -> None:
    config = tiny_config(tmp_path / 'resumed', **deepcopy(RECIPES[recipe]))
    config.load_from = str(whole(recipe) / stop)
    config.resume = True
    Runner.from_cfg(config).train()

    assert_same_end(tmp_path / 'resumed' / end, whole(recipe) / end)
    happened = defaultdict(list)
    for event in load_checkpoint(whole(recipe) / end)['meta'][KEY]['events']:
        if event['kind'] == 'target':  # noted at the start
            continue
        happened[event['t']].append(event['kind'])
        assert event.get('removed', 1) > 0, 'a search step without effect tests nothing'
    assert happened == _events(event['unit'], 'reactivate' in RECIPES[recipe])


def _events(unit: str, nothing_is_freed: bool) -> dict[int, list[str]]:
    if not nothing_is_freed:
        return EVENTS[unit]
    without = {t: [k for k in kinds if k != 'reactivate'] for t, kinds in EVENTS[unit].items()}
    return {t: ['search', 'refit'] if k == ['search'] else k for t, k in without.items()}
