"""Stock models with three lines added: nothing else is in the files, and the lines make sense."""

import ast
from pathlib import Path

import pytest
from mmengine import Config
from mmengine.registry import HOOKS

from st_mm.analysis.checkpoints import find_input_shape
from st_mm.hooks import PruneHook, ReactivateHook, SearchHook
from st_mm.models.building import build_model
from st_mm.search import count_units, input_sizes, unit_costs
from st_mm.units import find_owners

FOLDER = Path(__file__).parents[1] / 'configs' / 'drop_in'
UNITS = {  # of the networks as built; BasicBlocks have none
    'bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024': 0,
    'efficientnet-b0_8xb32_in1k': 8928,
    'fast_scnn_8xb4-160k_cityscapes-512x1024': 4800,
    'mobilenet-v2_8xb32_in1k': 7104,
    'mobilenet-v3-d8_lraspp_4xb4-320k_cityscapes-512x1024': 5000,
    'pspnet_r18-d8_4xb2-80k_cityscapes-512x1024': 0,
    'resnet50_8xb32_in1k': 3776,
    'td-hm_hrnet-w32_8xb64-210e_coco-256x192': 256,
    'td-hm_mobilenetv2_8xb64-210e_coco-256x192': 7104,
}
pytestmark = pytest.mark.filterwarnings('ignore::UserWarning')  # mm's, at every model it builds


def path(stock: str) -> Path:
    return FOLDER / f'supertickets-p90_{stock}.py'


def read(file: Path) -> tuple[Config, dict[type, object]]:
    """A config, and its custom hooks by class."""
    config = Config.fromfile(file)
    hooks = [HOOKS.build(dict(hook)) for hook in config.custom_hooks]
    return config, {type(hook): hook for hook in hooks}


def test_every_file_is_listed() -> None:
    assert {path(stock) for stock in UNITS} == set(FOLDER.glob('*.py'))


@pytest.mark.parametrize('stock', UNITS)
def test_a_file_is_a_base_and_three_lines(stock: str) -> None:
    file = path(stock)
    lines = ast.parse(file.read_text(encoding='utf-8')).body
    assert all(isinstance(line, ast.Assign) for line in lines)
    assert [line.targets[0].id for line in lines] == ['_base_', 'custom_imports', 'custom_hooks']
    [base] = ast.literal_eval(lines[0].value)
    library, _, name = base.partition('::')
    assert library in ('mmseg', 'mmpose', 'mmpretrain')
    assert Path(name).stem == stock

    theirs = Config.fromstring(f'_base_ = {base!r}', file_format='.py')
    ours = Config.fromfile(file)
    assert ours.custom_imports.imports == ['st_mm']
    kept = theirs.get('custom_hooks', [])
    assert ours.custom_hooks[: len(kept)] == kept
    for config in (ours, theirs):
        config.pop('custom_imports', None)
        config.pop('custom_hooks', None)
    assert ours.to_dict() == theirs.to_dict()


@pytest.mark.parametrize('stock', UNITS)
def test_the_last_prune_leaves_some_sparse_training(stock: str) -> None:
    config, hooks = read(path(stock))
    by_epoch = config.train_cfg.get('by_epoch', False)
    total = config.train_cfg.max_epochs if by_epoch else config.train_cfg.max_iters
    [prune] = [hook for hook in hooks.values() if isinstance(hook, PruneHook)]
    assert prune.by_epoch == by_epoch
    assert prune.schedule.ratio_at(total) == 0.9
    assert prune.schedule.ratio_at(prune.schedule.last(total) - 1) == 0.8
    assert 0.75 < prune.schedule.last(total) / total < 0.85
    if SearchHook in hooks:
        search = hooks[SearchHook]
        assert search.by_epoch == by_epoch
        assert search.interval < prune.schedule.interval
        assert 0.05 < search.warmup / total < 0.15


@pytest.mark.parametrize('stock', UNITS)
def test_units_and_what_they_cost(stock: str) -> None:
    config, hooks = read(path(stock))
    model = build_model(config)
    owners = find_owners(model)
    assert count_units(owners) == UNITS[stock]
    assert (SearchHook in hooks) == (ReactivateHook in hooks) == bool(owners)
    if owners:
        shape = hooks[SearchHook].input_shape
        assert shape == find_input_shape(config, None)
        costs = unit_costs(owners, input_sizes(model, shape))
        assert costs.keys() == owners.keys()
        assert all((cost > 0).all() for cost in costs.values())
