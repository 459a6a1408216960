"""Trainings that a ticket of classification goes into, in iterations, for the tests of transfer."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine import Config
from transfer_source import MOBILE, SLIM

STEPS = 100
PEOPLE = Path(__file__).parents[2] / 'configs/toy/hr-supernet-slim_16b-18e_toy-people-96x64.py'
PLAIN = dict(num_workers=0, persistent_workers=False, batch_size=4)
IN_ITERATIONS = dict(
    train_dataloader=dict(
        sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=False), batch_size=2
    ),
    train_cfg=dict(_delete_=True, type='IterBasedTrainLoop', max_iters=STEPS, val_interval=999),
    default_hooks=dict(checkpoint=dict(by_epoch=False, interval=STEPS // 2)),
    log_processor=dict(by_epoch=False),
    param_scheduler=[dict(type='ConstantLR', factor=1.0, by_epoch=False)],
    optim_wrapper=dict(
        _delete_=True,
        type='Bfloat16Wrapper',
        optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    ),
)


def streets(
    tiny_config: Callable[..., Config], work_dir: Path, hooks: list[dict], **changes: Any
) -> Config:
    """Segmentation of toy streets by the supernet."""
    config = tiny_config(
        work_dir, search=None, prune=None, reactivate=None, **copy.deepcopy(IN_ITERATIONS)
    )
    config.model.backbone = SLIM
    config.custom_hooks += hooks
    config.merge_from_dict(changes)
    return config


def people(data: Path, work_dir: Path, hooks: list[dict]) -> Config:
    """Pose estimation of toy people by MobileNetV2, in float32, which mmpose's heads need."""
    config = Config.fromfile(PEOPLE)
    head = dict(in_channels=1280, deconv_out_channels=(8, 8, 8), deconv_kernel_sizes=(4, 4, 4))
    config.merge_from_dict(
        dict(
            model=dict(backbone=dict(MOBILE, _delete_=True, out_indices=(7,)), head=head),
            train_dataloader=PLAIN,
            val_dataloader=PLAIN,
            test_dataloader=PLAIN,
            log_level='WARNING',
        )
    )
    config.merge_from_dict(copy.deepcopy(IN_ITERATIONS))
    config.optim_wrapper.type = 'OptimWrapper'
    del config.model['neck']
    for split in ('train', 'val', 'test'):
        dataset = config[f'{split}_dataloader'].dataset
        dataset.data_root = f'{data}/'
        dataset.pipeline = config.test_pipeline if split != 'train' else still(config)
    for split in ('val', 'test'):
        metric = config[f'{split}_evaluator'][1]
        metric.ann_file = f'{data}/annotations/person_keypoints_{split}.json'
    config.custom_hooks += hooks
    config.work_dir = str(work_dir)
    name = f'{work_dir.parent.name}-{work_dir.name}'
    config.experiment_name = name
    config.visualizer = dict(type='Visualizer', name=name)
    return config


def still(config: Config) -> list[dict]:
    """The pipeline of training without what is drawn: a resume does not draw the same again."""
    return [step for step in config.train_pipeline if not step.type.startswith('Random')]
