"""The networks and trainings that are damaged: a small supernet, and a small stock network."""

import os
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn import functional as F

from st_mm.models import AtomicBlock

SUBJECTS = ('FuzzSupernet', 'FuzzStock')
INPUT = torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)


class Net(BaseModel):
    """Body, pooling, classifier."""

    body: nn.Module

    def scores(self, inputs: Tensor) -> Tensor:
        return self.classifier(self.body(inputs).mean((2, 3)))

    def forward(
        self,
        inputs: Tensor,
        labels: Tensor | None = None,
        mode: str = 'tensor',
        data_samples: Any = None,
    ) -> Any:
        scores = self.scores(inputs)
        return dict(loss=F.cross_entropy(scores, labels)) if mode == 'loss' else scores


@MODELS.register_module()
class FuzzSupernet(Net):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self.body = nn.Sequential(AtomicBlock(3, 6, **kwargs), AtomicBlock(6, 6, expand_ratio=1))
        self.classifier = nn.Linear(6, 4)


@MODELS.register_module()
class FuzzStock(Net):
    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3)]
        self.body = nn.Sequential(*layers)
        self.classifier = nn.Linear(8, 4)


@DATASETS.register_module()
class FuzzNoise(torch.utils.data.Dataset):
    metainfo: ClassVar = dict(classes=list('abcd'))

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        generator = torch.Generator().manual_seed(index)
        return torch.rand(3, 8, 8, generator=generator), index % 4


def build(subject: str, work_dir: Path, epochs: int = 3, **kwargs: Any) -> Runner:
    """A training of ``subject`` with pruning, an average of the weights, and schedulers."""
    prune = dict(type='PruneHook', calibration_batches=0,
                 schedule=dict(type='Progressive', ratio=0.5, interval=1, step=0.25))  # fmt: skip
    checkpoint = dict(type='CheckpointHook', interval=1, **kwargs.pop('checkpoint', {}))
    config = dict(
        model=dict(type=subject),
        work_dir=str(work_dir),
        default_scope='mmengine',
        log_level='ERROR',
        experiment_name=os.urandom(6).hex(),
        custom_hooks=[prune, dict(type='EMAHook')],
        default_hooks=dict(checkpoint=checkpoint, logger=None),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=0.01)),
        param_scheduler=[dict(type='ExponentialLR', gamma=0.9)],
        randomness=dict(seed=0),
        train_dataloader=dict(
            dataset=dict(type='FuzzNoise'),
            batch_size=4,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
        ),
    )
    return Runner.from_cfg(Config({**config, **kwargs}, format_python_code=False))


def train_all(folder: Path) -> dict[str, Path]:
    """Train each subject once; its checkpoint after two of three epochs."""
    found = {}
    for subject in SUBJECTS:
        build(subject, folder / subject, epochs=2).train()
        found[subject] = folder / subject / 'epoch_2.pth'
    return found
