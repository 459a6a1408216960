"""Trainings of a config on random pictures, set up to their first iteration."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine import Config
from mmengine.registry import DATASETS, LOOPS
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from st_mm.hooks import PruneHook
from st_mm.hooks.run_state import Moment, bare_model
from st_mm.units import find_owners

numbers = itertools.count()


class Setting(NamedTuple):
    """What is trained, and where it may write."""

    config: Path
    size: tuple[int, int]  # height, width
    batch_size: int
    work_dir: Path


@DATASETS.register_module()
class RandomScenes(torch.utils.data.Dataset):
    """Noise with labels, more of it than any benchmark takes."""

    def __init__(self, size: tuple[int, int], classes: int) -> None:
        self.size = tuple(size)
        self.classes = classes

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> dict[str, Any]:
        labels = PixelData(data=torch.randint(self.classes, (1, *self.size)))
        sample = SegDataSample(gt_sem_seg=labels, metainfo=dict(img_shape=self.size))
        picture = torch.randint(256, (3, *self.size), dtype=torch.uint8)
        return dict(inputs=picture, data_samples=sample)


@LOOPS.register_module()
class PausedLoop(EpochBasedTrainLoop):
    """Does what comes before the first iteration, and leaves the rest to :func:`step`."""

    def run(self) -> None:
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        self.batch = next(iter(self.dataloader))


def start(setting: Setting, hooks: bool, **changes: object) -> Runner:
    """Set a training up and do its first step, so that the optimizer has its state.

    Args:
        setting (Setting): With a config of mmseg that has the hooks of st_mm.
        hooks (bool): Whether they take part, their masks at the final ratio. EMA always does.
        **changes: Top-level fields of the config.
    """
    cfg = Config.fromfile(setting.config)
    if not hooks:
        cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type == 'EMAHook']
    for split, part in itertools.product(('val', 'test'), ('dataloader', 'cfg', 'evaluator')):
        cfg[f'{split}_{part}'] = None
    cfg.model.data_preprocessor.size = setting.size
    classes = cfg.model.decode_head.num_classes
    cfg.train_dataloader = dict(
        batch_size=setting.batch_size,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='RandomScenes', size=setting.size, classes=classes),
    )
    cfg.train_cfg = dict(type='PausedLoop', max_epochs=cfg.train_cfg.max_epochs)
    cfg.experiment_name = cfg.visualizer.name = f'training-{next(numbers)}'
    cfg.work_dir = str(setting.work_dir / cfg.experiment_name)
    cfg.merge_from_dict(dict(randomness=dict(seed=0), log_level='ERROR', **changes))
    runner = Runner.from_cfg(cfg)
    runner.train()
    step(runner)
    choose_masks(runner)
    return runner


def choose_masks(runner: Runner) -> None:
    """Prune to the final ratio."""
    for hook in runner.hooks:
        if isinstance(hook, PruneHook):
            hook.step(runner, Moment('epoch', hook.last_prune(runner), runner.iter))


def step(runner: Runner) -> None:
    """Train one iteration, with all that belongs to it."""
    runner.train_loop.run_iter(0, runner.train_loop.batch)


def draw_units(runner: Runner, share: float) -> Mapping[str, Tensor]:
    """Draw a share of the units of every owner: (units,) bool masks."""
    owners = find_owners(bare_model(runner))
    widths = {name: sum(owner.unit_groups().values()) for name, owner in owners.items()}
    return {name: torch.randperm(units) < round(share * units) for name, units in widths.items()}
