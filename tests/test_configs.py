"""Every config builds, and those of Cityscapes say what the paper's recipe says."""

import itertools
from pathlib import Path

import pytest
import torch
import yaml
from mmengine import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, HOOKS, PARAM_SCHEDULERS, DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

import st_mm
from st_mm.search import find_owners

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    path.relative_to(ROOT) for path in ROOT.glob('configs/*/*.py') if '_base_' not in path.parts
)
CITYSCAPES = ROOT / 'configs' / 'cityscapes'


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_config_builds(path: Path) -> None:
    config = Config.fromfile(ROOT / path)
    assert config.custom_imports.imports == ['st_mm']
    with DefaultScope.overwrite_default_scope(config.default_scope):
        model = Runner.build_model(None, config.model)
        Visualizer.get_instance(path.stem)  # SegVisualizationHook asks for one
        for hook in [*config.custom_hooks, *config.default_hooks.values()]:
            HOOKS.build(dict(hook))
        wrapper = build_optim_wrapper(model, config.optim_wrapper)
        for scheduler in config.param_scheduler:
            arguments = {**scheduler, 'optimizer': wrapper, 'epoch_length': 10}
            build = PARAM_SCHEDULERS.get(arguments.pop('type'))
            if arguments.pop('convert_to_iter_based', False):
                build = build.build_iter_from_epoch
            build(**arguments)
        for split in ('train', 'val', 'test'):
            DATASETS.build({**config[f'{split}_dataloader'].dataset, 'lazy_init': True})
    assert find_owners(model)


@pytest.mark.parametrize('path', CITYSCAPES.glob('*.py'), ids=lambda path: path.stem)
def test_cityscapes_recipe(path: Path) -> None:
    config = Config.fromfile(path)
    assert config.train_dataloader.batch_size * 8 == 32
    assert config.train_pipeline[3].crop_size == (512, 1024)
    epochs = 50 if 'retrain' in path.stem else 430
    [schedule] = config.param_scheduler
    assert config.train_cfg.max_epochs == schedule.total_steps == epochs
    assert (schedule.eta_max, schedule.div_factor) == (0.04, 25)
    optimizer = config.optim_wrapper.optimizer
    assert optimizer == dict(type='Adam', lr=0.04 / 25, eps=1e-3, weight_decay=1e-5)
    hooks = {hook.pop('type'): hook for hook in config.custom_hooks}
    assert hooks['EMAHook'].momentum == pytest.approx(1 - 0.9999 ** (32 / 4096))
    if 'SearchHook' in hooks:
        search = hooks['SearchHook']
        assert (search.interval, search.rho, search.warmup) == (10, 1.4e-4, 25)
        assert (search.threshold, search.min_macs_drop) == (1e-3, 1e6)
    if 'supertickets' in path.stem and 'retrain' not in path.stem:
        ratio = int(path.stem.split('-p')[1][:2]) / 100
        assert hooks['ProgressivePruneHook'] == dict(ratio=ratio, interval=25)
        assert hooks['ReactivateHook'] == dict(on='search')


def test_weight_decay_is_on_weights_and_the_classifier_bias() -> None:
    config = Config.fromfile(CITYSCAPES / 'hr-supernet_8xb4-430e_cityscapes-512x1024.py')
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = Runner.build_model(None, config.model)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    decay = {
        id(parameter): group['weight_decay']
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }
    for name, parameter in model.named_parameters():
        decayed = parameter.dim() > 1 or name == 'decode_head.conv_seg.bias'
        assert decay[id(parameter)] == (1e-5 if decayed else 0), name


def test_ema_follows_the_published_formula() -> None:
    """decay = min(d, (1 + n) / (10 + n)) behind the n-th update."""
    config = Config.fromfile(CITYSCAPES / 'hr-supernet_8xb4-430e_cityscapes-512x1024.py')
    [ema] = config.custom_hooks
    from mmengine.model import MomentumAnnealingEMA

    model = torch.nn.Linear(1, 1).double()
    averaged = MomentumAnnealingEMA(model, momentum=ema.momentum, gamma=ema.gamma)
    averaged.update_parameters(model)
    expected = model.weight.item()
    for n in range(200):
        torch.nn.init.normal_(model.weight)
        averaged.update_parameters(model)
        decay = min(1 - ema.momentum, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * model.weight.item()
        assert averaged.module.weight.item() == pytest.approx(expected, rel=1e-12)


def test_model_index_names_files_that_exist() -> None:
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    models = list(
        itertools.chain.from_iterable(
            yaml.safe_load((ROOT / path).read_text())['Models'] for path in index['Import']
        )
    )
    assert models
    for model in models:
        path = ROOT / model['Config']
        assert path.is_file()
        assert path.stem == model['Name']


def test_a_config_elsewhere_inherits_ours(tmp_path: Path) -> None:
    child = tmp_path / 'child.py'
    name = 'camvid/supertickets-p90-slim_8b-40e_camvid-192x256.py'
    child.write_text(
        f"_base_ = __import__('st_mm').config_path('{name}')\ntrain_dataloader = dict(batch_size=3)"
    )
    config = Config.fromfile(child)
    assert config.train_dataloader.batch_size == 3
    assert config.model.backbone.type == 'HRSupernet'
    with pytest.raises(FileNotFoundError, match='st_mm has no config nowhere'):
        st_mm.config_path('nowhere.py')
