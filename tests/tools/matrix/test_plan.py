"""The rows of our matrices as trainings: configs that work, in an order that saves time."""

import json
import sys
from pathlib import Path

import pytest
from mmengine.config import ConfigDict
from mmengine.registry import HOOKS

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / 'tools'))  # where Python finds the packages of a tool

from matrix.plan import Plan, read  # noqa: E402

ABLATIONS = ROOT / 'configs' / 'ablations'
MATRICES = {path.stem for path in ABLATIONS.glob('_base_/matrices/*.py')}
TRANSFERS = dict(toy=(30, 10), camvid=(40, 15), cityscapes=(430, 50))  # of search, of retraining
EPOCHS = dict(**TRANSFERS, tiny_imagenet=(13, 4), lspet=(14, 4))


def plan_of(path: Path, *ratios: float, **options: object) -> Plan:
    matrix = read(path)
    return Plan(matrix, path.parent, Path('work'), ratios or matrix.ratios, options)


@pytest.mark.slow
@pytest.mark.parametrize('dataset', EPOCHS)
def test_every_row_is_a_config(dataset: str) -> None:
    search, retrain = EPOCHS[dataset]
    folder = ABLATIONS / dataset
    work_dir = read(folder / 'ladder.py').work_dir
    searched = read(folder / 'search.py').model
    seen = {}
    matrices = {path for name in MATRICES if (path := folder / f'{name}.py').is_file()}
    for matrix in matrices:
        for training in plan_of(matrix, 0.7).trainings:
            seen[training.config] = training
    assert set(folder.glob('*.py')) - set(seen) == matrices
    for training in seen.values():
        config = read(training.config, 0.7)
        for hook in config.custom_hooks:
            HOOKS.build(dict(hook))
        hooks = {hook['type']: hook for hook in config.custom_hooks}
        check_hooks(training.config.stem, hooks)
        init = config.model.pop('init_cfg', None)
        if training.config.stem == 'transfer-source':  # another task, another length
            assert training.parent is None
            continue
        assert config.model == searched
        assert bool(config.param_scheduler) == bool(training.epochs)
        for schedule in config.param_scheduler:
            assert schedule.get('total_steps', training.epochs) == training.epochs
        source = config.get('load_from') or (init and init.checkpoint)
        if 'short' not in training.name:
            retrained = 'retrain' in training.name or 'rewind' in training.name or init
            after = retrain if retrained else 0
            assert training.epochs == (after if source else search)
        if 'distill' in training.name:
            assert source is None
            [teacher] = [hook for hook in config.custom_hooks if hook.type == 'DistillHook']
            source = teacher.checkpoint
            assert ROOT / teacher.teacher == training.parent.config
            assert set(training.loads.values()) == {training.parent.ticket.name}
        if source is None:
            continue
        # where the config itself looks is where the tool puts it
        assert source == str(work_dir / training.parent.ticket.relative_to('work'))


@pytest.mark.slow
@pytest.mark.parametrize('dataset', TRANSFERS)
def test_rows_of_transfer_cost_the_same_on_the_target(dataset: str) -> None:
    plan = plan_of(ABLATIONS / dataset / 'transfer.py', 0.9)
    _, budget = TRANSFERS[dataset]
    for row in plan.rows:
        chain = [training := row.training]
        while training := training.parent:
            chain.append(training)
        there = [link.epochs for link in chain if link.config.stem != 'transfer-source']
        assert sum(there) == budget, row.label


def check_hooks(name: str, hooks: dict) -> None:
    first, *rest = name.split('-')
    if first == 'sp':
        assert set(hooks) == {'EMAHook', 'PruneHook', 'InitialCheckpointHook'}
        prune = hooks['PruneHook']
        assert prune.schedule == dict(type='OneShot', ratio=0.7, at=0)
        score = prune.get('score', 'magnitude')
        assert (score if isinstance(score, str) else score.type) == rest[0]
    elif 'retrain' in rest or (first in ('transfer', 'rewind') and rest != ['source']):
        assert set(hooks) == {'EMAHook', 'FixedMaskHook'}
        assert hooks['FixedMaskHook'].get('shuffle', False) == (rest == ['rp'])
    elif name == 'transfer-source':
        assert set(hooks) == {'EMAHook', 'SearchHook', 'ProgressivePruneHook', 'ReactivateHook'}
        assert hooks['ProgressivePruneHook'].ratio == 0.7
    elif 'soft' in rest:
        prune = hooks['PruneHook']
        assert (prune.schedule.type, prune.schedule.ratio) == ('Cubic', 0.7)
        assert prune.straight_through == 'soft'
        assert ('DistillHook' in hooks) == ('ema' in rest)
        assert 'ReactivateHook' not in hooks
    elif first != 'search':
        prune = hooks['ProgressivePruneHook']
        assert prune.ratio == 0.7
        assert (prune.get('step') == 1) == (name == 'two-in-one')
        frees = first == 'plus' or 'irs' in rest
        on = 'search' if frees else {'pp-irp': 'prune'}.get(name)
        assert ('DistillHook' in hooks) == bool({'distill', 'ema'} & {*rest})
        assert prune.get('score', 'magnitude') == ('lamp' if 'lamp' in rest else 'magnitude')
        assert prune.get('scope', 'global') == ('sigma' if 'sigma' in rest else 'global')
        assert hooks.get('ReactivateHook', {}).get('on') == on
    assert ('SearchHook' in hooks) == (
        first in ('search', 'two', 'pp', 'plus') and 'retrain' not in rest
    ) or name == 'transfer-source'


@pytest.mark.slow
@pytest.mark.parametrize('dataset', EPOCHS)
def test_rewinding_loads_weights_of_the_run_that_drew_the_ticket(dataset: str) -> None:
    plan = plan_of(ABLATIONS / dataset / 'rewind.py')
    rows = {row.training.config.stem: row.training for row in plan.rows}
    ticket = rows['pp-irs'].ticket.name
    assert dict(rows['rewind-rr'].loads) == {'model.init_cfg.checkpoint': ticket}
    run = read(rows['pp-irs'].config)
    kept = run.default_hooks.checkpoint
    work_dir = read(ABLATIONS / dataset / 'rewind.py').work_dir
    folder = work_dir / rows['pp-irs'].folder.relative_to('work')
    for name in ('rewind-lt', 'rewind-elt'):
        loads = dict(rows[name].loads)
        assert rows[name].parent is rows['pp-irs']
        assert loads.pop('model.init_cfg.checkpoint') == ticket
        weights = loads.pop('model.init_cfg.weights')
        assert not loads
        # where the config itself looks is where the tool puts it
        assert read(rows[name].config).model.init_cfg.weights == str(folder / weights)
        if name == 'rewind-lt':
            assert weights == 'initial.pth'
            assert 'InitialCheckpointHook' in [hook.type for hook in run.custom_hooks]
        else:
            epoch = int(Path(weights).stem.removeprefix('epoch_'))
            assert epoch % kept.interval == 0
            assert kept.max_keep_ckpts == -1
            assert 0.2 <= epoch / rows['pp-irs'].epochs < 0.3  # early, and alike in all data sets


def test_a_ticket_of_fewer_epochs_is_what_is_loaded() -> None:
    plan = plan_of(ABLATIONS / 'toy' / 'ladder.py', **{'train_cfg.max_epochs': 2})
    rows = {row.training.config.stem: row.training for row in plan.rows}
    assert rows['pp-irs'].ticket.name == 'epoch_2.pth'
    assert dict(rows['pp-irs-retrain'].loads) == {'load_from': 'epoch_2.pth'}


def test_longest_chains_first_and_nothing_twice() -> None:
    plan = plan_of(ABLATIONS / 'toy' / 'sweep.py', 0.5, 0.95)
    names = [training.name for training in plan.trainings]
    assert names[:3] == ['search', 'pp-irs p=0.5', 'pp-irs p=0.95']
    assert len(set(names)) == len(names) == 9
    folders = [row.training.folder for row in plan.rows]
    assert Path('work/p50/sp-magnitude') in folders
    assert Path('work/p95/pp-irs-retrain') in folders
    assert plan.trainings[0].folder == Path('work/search')


def test_seeds() -> None:
    folder = ABLATIONS / 'toy'
    matrix = dict(rows=[ConfigDict(label='random', config='sp-random.py')])
    plan = Plan(ConfigDict(matrix), folder, Path('work'), [0.5], {}, seeds=(0, 7))
    own, other = (row.training for row in plan.rows)
    assert (own.seed, other.seed) == (0, 7)
    # the seed that the configs have is what a call without seeds has trained
    assert own.folder == Path('work/p50/sp-random')
    assert other.folder == Path('work/seed7/p50/sp-random')
    assert (own.name, other.name) == ('sp-random p=0.5', 'sp-random p=0.5 seed7')
    assert other.parent is not own.parent
    assert other.parent.folder == Path('work/seed7/search')
    for training in (own, other, other.parent):
        settings = json.loads(training.settings)
        assert settings['randomness'] == dict(seed=training.seed)
    for training in (own, other):  # a score that is drawn at random, too
        hooks = json.loads(training.settings)['custom_hooks']
        [score] = [hook['score'] for hook in hooks if hook['type'] == 'PruneHook']
        assert score == dict(type='random', seed=training.seed)
