"""Every config builds its runner, and those of the paper's four data sets say its recipes."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from mmengine import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, METRICS, PARAM_SCHEDULERS, DefaultScope
from mmengine.runner import Runner
from torch import nn

import st_mm
from st_mm.units import find_owners

ROOT = Path(__file__).parents[1]
# of trainings, not themselves one
MATRICES = {path.stem for path in ROOT.glob('configs/ablations/_base_/matrices/*.py')}
CONFIGS = sorted(
    path.relative_to(ROOT / 'configs')
    for path in ROOT.glob('configs/**/*.py')
    if '_base_' not in path.parts and path.stem not in MATRICES
)
SEGMENTATION = dict(
    optimizer=dict(type='Adam', lr=0.04 / 25, eps=1e-3, weight_decay=1e-5),
    schedule=dict(type='OneCycleLR', eta_max=0.04, div_factor=25),
    rho=1.4e-4,
    classifier='decode_head.conv_seg',
    norm=(1e-3, 0.01),
    init=dict(type='MnasNet'),
)
# the published recipes
RECIPES: dict[str, dict[str, Any]] = dict(
    cityscapes=dict(
        **SEGMENTATION, epochs=430, batch=32, size=(512, 1024), prune=dict(interval=25)
    ),
    ade20k=dict(**SEGMENTATION, epochs=200, batch=64, size=(512, 512), prune=dict(interval=15)),
    coco_keypoint=dict(
        epochs=210,
        batch=384,
        size=(256, 192),
        optimizer=dict(type='Adam', lr=1e-3, eps=1e-8, weight_decay=1e-8),
        schedule=dict(type='MultiStepLR', milestones=[170, 200], gamma=0.1, by_epoch=True),
        rho=1e-6,
        prune=dict(interval=15, end=195),
        classifier='head.final_layer',
        norm=(1e-5, 0.1),
        init=dict(type='Normal', layer='Conv2d', std=1e-3),
    ),
    imagenet=dict(
        epochs=350,
        batch=256,
        size=(224, 224),
        optimizer=dict(
            type='RMSpropEpsInRoot', lr=0.016, alpha=0.9, eps=1e-3, momentum=0.9, weight_decay=1e-5
        ),
        schedule=dict(type='StepLR', step_size=12012, gamma=0.97, by_epoch=False),
        rho=1.8e-4,
        prune=dict(interval=25, end=325),
        classifier='head.fc',
        norm=(1e-3, 0.01),
        init=dict(type='MnasNet'),
    ),
)
OF_RECIPES = [path for path in CONFIGS if path.parts[0] in RECIPES]
every_recipe = pytest.mark.parametrize('folder', RECIPES)


@pytest.fixture(scope='module', autouse=True)
def _short_cuts() -> Iterator[None]:
    """Configs of a folder share their model, and none is formatted, which takes a second each."""
    build = Runner.build_model
    models: dict[str, nn.Module] = {}

    def build_once(self: Runner, model: Any) -> nn.Module:
        key = repr(model)
        if key not in models:
            models[key] = build(self, model)
        return models[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, 'build_model', build_once)
        patch.setattr(Config, 'pretty_text', property(repr))
        yield


def read(path: Path | str) -> Config:
    return Config.fromfile(ROOT / 'configs' / path)


@cache
def supernet(folder: str) -> Config:
    [path] = (ROOT / 'configs' / folder).glob('hr-supernet_*[0-9].py')
    return read(path)


@pytest.mark.parametrize('path', CONFIGS, ids=str)
def test_runner_builds(path: Path, tmp_path: Path) -> None:
    config = read(path)
    assert config.custom_imports.imports == ['st_mm']
    config.work_dir = str(tmp_path)
    config.log_level = 'ERROR'  # runners of one name share their logs
    config.experiment_name = config.visualizer.name = str(path.with_suffix(''))
    runner = Runner.from_cfg(config)
    hooks = {type(hook).__name__ for hook in runner.hooks}
    assert hooks >= {hook.type for hook in config.custom_hooks}
    if 'SearchHook' in hooks:
        assert find_owners(runner.model)

    wrapper = runner.build_optim_wrapper(config.optim_wrapper)
    schedulers = config.param_scheduler
    for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
        arguments = {**scheduler, 'optimizer': wrapper, 'epoch_length': 10}
        arguments.pop('_scope_', None)
        build = PARAM_SCHEDULERS.get(arguments.pop('type'))
        if arguments.pop('convert_to_iter_based', False):
            build = build.build_iter_from_epoch
        else:
            del arguments['epoch_length']
        build(**arguments)
    # without their files, which most machines lack: test_real_samples.py has some
    for split in ('train', 'val', 'test'):
        DATASETS.build({**config[f'{split}_dataloader'].dataset, 'lazy_init': True})
    for split in ('val', 'test'):
        metrics = config[f'{split}_evaluator']
        for metric in metrics if isinstance(metrics, list) else [metrics]:
            METRICS.build({**metric, **({'ann_file': None} if 'ann_file' in metric else {})})


def test_configs_of_pose_say_what_inferencers_ask_for() -> None:
    configs = [config for config in map(read, CONFIGS) if config.default_scope == 'mmpose']
    assert len(configs) > 5
    for config in configs:
        dataset = config.train_dataloader.dataset
        assert config.dataset_type == dataset.type, config.filename
        assert config.data_mode == dataset.get('data_mode', 'topdown') == 'topdown'


@pytest.mark.parametrize('path', OF_RECIPES, ids=str)
def test_recipe(path: Path) -> None:
    config = read(path)
    recipe = RECIPES[path.parts[0]]
    retrained = 'retrain' in path.stem
    assert f'_8xb{config.train_dataloader.batch_size}-' in path.stem
    assert config.train_dataloader.batch_size * 8 == recipe['batch']
    assert input_size(config.train_dataloader.dataset.pipeline) == recipe['size']
    assert config.train_cfg.max_epochs == (50 if retrained else recipe['epochs'])
    assert config.optim_wrapper.optimizer == recipe['optimizer']
    [schedule] = config.param_scheduler
    if not retrained:
        assert {**schedule, **recipe['schedule']} == schedule
    if schedule.type == 'OneCycleLR':
        assert schedule.total_steps == config.train_cfg.max_epochs
    else:
        assert config.auto_scale_lr.base_batch_size == recipe['batch']
    hooks = {hook.pop('type'): hook for hook in config.custom_hooks}
    momentum = 1 - 0.9999 ** (recipe['batch'] / 4096)
    expected = dict(EMAHook=dict(ema_type='RampedEMA', update_buffers=True, momentum=momentum))
    if retrained:
        expected['FixedMaskHook'] = {}
    elif 'hr-supernet' not in path.stem:
        expected['SearchHook'] = dict(
            interval=10,
            rho=recipe['rho'],
            warmup=25,
            threshold=1e-3,
            min_macs_drop=1e6,
            input_shape=(3, *recipe['size']),
        )
    if 'supertickets' in path.stem and not retrained:
        ratio = int(path.stem.split('-p')[1][:2]) / 100
        expected['ProgressivePruneHook'] = dict(ratio=ratio, **recipe['prune'])
        expected['ReactivateHook'] = dict(on='search')
    assert hooks == expected


def input_size(pipeline: list[dict]) -> tuple[int, int]:
    """Height and width of what a training pipeline yields."""
    steps = {step['type']: step for step in pipeline}
    if 'RandomCrop' in steps:
        return steps['RandomCrop']['crop_size']
    if 'TopdownAffine' in steps:
        return steps['TopdownAffine']['input_size'][::-1]
    return (steps['RandomResizedCrop']['scale'],) * 2


@every_recipe
def test_norms_and_initialization(folder: str) -> None:
    recipe, model = RECIPES[folder], supernet(folder).model
    for part in (model.backbone, model.neck):
        norm = part.norm_cfg
        assert (norm.type, norm.eps, norm.momentum) == ('SyncBN', *recipe['norm'])
        assert part.get('init_cfg', dict(type='MnasNet')) == recipe['init']


@every_recipe
def test_weight_decay_is_on_weights_and_the_classifier_bias(folder: str) -> None:
    recipe, config = RECIPES[folder], supernet(folder)
    with DefaultScope.overwrite_default_scope(config.default_scope):
        model = Runner.build_model(None, config.model)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    decay = {
        id(parameter): group['weight_decay']
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }
    assert f'{recipe["classifier"]}.bias' in dict(model.named_parameters())
    for name, parameter in model.named_parameters():
        decayed = parameter.dim() > 1 or name == f'{recipe["classifier"]}.bias'
        expected = recipe['optimizer']['weight_decay'] if decayed else 0
        assert decay[id(parameter)] == expected, name


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
