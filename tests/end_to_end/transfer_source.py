"""Tickets of classification on noise, drawn in three steps, for the tests of transfer."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import DATASETS, OPTIM_WRAPPERS
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import nn

from st_mm.units import find_owners

PRE = dict(mean=[127.5] * 3, std=[64.0] * 3)
SLIM = dict(
    type='HRSupernet',
    stem_channels=(4, 8),
    stage_channels=((8,), (6, 12)),
    stage_blocks=((1,), (1, 1)),
    expand_ratio=2,
    norm_cfg=dict(type='BN', eps=1e-3, momentum=0.1),
)
MOBILE = dict(type='MobileNetV2', widen_factor=0.25)
NECK = dict(
    type='HRClassificationNeck', in_channels=(6, 12), head_channels=(8, 16), out_channels=24
)
SOURCES = dict(supernet=(SLIM, NECK, 24), mobile=(MOBILE, dict(type='GlobalAveragePooling'), 1280))
FUSION = dict(type='HRFusionNeck', in_channels=(6, 12), out_channels=12)


@DATASETS.register_module()
class NoisePictures(torch.utils.data.Dataset):
    """16 pictures of noise in four classes."""

    metainfo: ClassVar = dict(classes=list('abcd'))

    def __len__(self) -> int:
        return 16

    def full_init(self) -> None:
        pass

    def __getitem__(self, index: int) -> dict[str, Any]:
        picture = torch.randint(255, (3, 32, 32), generator=torch.Generator().manual_seed(index))
        return dict(inputs=picture.float(), data_samples=DataSample().set_gt_label(index % 4))


class Kill(Hook):
    """Brings every third unit to zero, right before the search."""

    priority = 30

    def after_train_iter(self, runner: Runner, batch_idx: int, *_: object, **__: object) -> None:
        for owner in find_owners(runner.model).values():
            owner.unit_bn.weight.data[::3] = 0


@OPTIM_WRAPPERS.register_module()
class Bfloat16Wrapper(OptimWrapper):
    """Mixed precision on any device; mmengine's own wants a GPU."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield


def classifier(network: str) -> dict[str, Any]:
    backbone, neck, channels = SOURCES[network]
    head = dict(type='LinearClsHead', num_classes=4, in_channels=channels)
    pre = dict(type='ClsDataPreprocessor', **PRE)
    return dict(
        type='ImageClassifier', backbone=backbone, neck=neck, head=head, data_preprocessor=pre
    )


def draw(network: str, work_dir: Path) -> Path:
    search = dict(
        type='SearchHook',
        interval=2,
        min_macs_drop=1,
        calibration_batches=1,
        input_shape=(3, 32, 32),
        by_epoch=False,
    )
    prune = dict(
        type='PruneHook', schedule=dict(type='OneShot', ratio=0.8, at=1), by_epoch=False,
        rules=[dict(names='*', min_per_channel=1)], calibration_batches=1,
    )  # fmt: skip
    config = Config(
        dict(
            model=classifier(network),
            work_dir=str(work_dir),
            default_scope='mmpretrain',
            experiment_name=f'draw-{network}',
            log_level='WARNING',
            custom_hooks=[search, prune, dict(type='InitialCheckpointHook')],
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3)),
            train_cfg=dict(by_epoch=False, max_iters=3),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            randomness=dict(seed=0),
            train_dataloader=dict(
                dataset=dict(type='NoisePictures'),
                batch_size=8,
                num_workers=0,
                sampler=dict(type='InfiniteSampler', shuffle=True),
                collate_fn=dict(type='pseudo_collate'),
            ),
        )
    )
    runner = Runner.from_cfg(config)
    runner.register_hook(Kill())
    runner.train()
    return work_dir / 'iter_3.pth'
