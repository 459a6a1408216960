"""A small stock classifier on noise: a real Runner that trains in a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine import Config
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch.utils.data import Dataset

PRE = dict(type='ClsDataPreprocessor', mean=[127] * 3, std=[60] * 3)
MOBILENET = dict(
    type='ImageClassifier',
    backbone=dict(type='MobileNetV2', widen_factor=0.1),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=4, in_channels=1280),
    data_preprocessor=PRE,
)


@DATASETS.register_module()
class NoisyViews(Dataset):
    """16 pictures of noise in 4 classes; ``views`` of each for test time augmentation."""

    def __init__(self, views: int = 0) -> None:
        self.metainfo = dict(classes=list('abcd'))
        self.views = views

    def __len__(self) -> int:
        return 16

    def full_init(self) -> None:
        pass

    def __getitem__(self, index: int) -> dict:
        noise = torch.Generator().manual_seed(index)
        picture = torch.randint(255, (3, 32, 32), generator=noise).float()
        sample = DataSample().set_gt_label(index % 4)
        if not self.views:
            return dict(inputs=picture, data_samples=sample)
        views = [picture.flip(-1) if view % 2 else picture for view in range(self.views)]
        return dict(inputs=views, data_samples=[sample.clone() for _ in views])


def loader(batch: int = 4, shuffle: bool = False, **dataset: Any) -> dict:
    return dict(
        dataset=dict(type='NoisyViews', **dataset),
        batch_size=batch,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=shuffle),
        collate_fn=dict(type='pseudo_collate'),
    )


@pytest.fixture
def validate() -> dict:
    """The part of a config that validates after each epoch."""
    return dict(val_cfg={}, val_evaluator=dict(type='Accuracy'), val_dataloader=loader())


@pytest.fixture
def noise_runner(tmp_path: Path) -> Callable[..., Runner]:
    """Runners on noise: ``noise_runner(hooks, epochs, name, model, **config)``.

    A model without a type is a change of the small classifier.
    """
    made: list[Runner] = []

    def build(
        hooks: list = [],  # noqa: B006 - read only
        epochs: int = 2,
        name: str = 'run',
        model: dict = {},  # noqa: B006 - read only
        batch: int = 4,
        **config: Any,
    ) -> Runner:
        cfg = dict(
            model=model if 'type' in model else {**MOBILENET, **model},
            work_dir=str(tmp_path / name),
            default_scope='mmpretrain',
            log_level='WARNING',
            experiment_name=f'{tmp_path.name}-{name}-{len(made)}',
            custom_hooks=hooks,
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.005)),
            randomness=dict(seed=0),
            train_dataloader=loader(batch, shuffle=True),
            default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        )
        made.append(Runner.from_cfg(Config({**cfg, **config})))
        return made[-1]

    return build
