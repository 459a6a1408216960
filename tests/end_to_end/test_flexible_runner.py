"""mmengine's FlexibleRunner draws the ticket that its Runner draws.

Launched by torchrun, this file is the training script of a rank.
"""

import socket
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from mmengine import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS
from mmengine.runner import Runner
from mmengine.runner._flexible_runner import FlexibleRunner
from mmpretrain.structures import DataSample
from torch.utils.data import Dataset

import st_mm  # noqa: F401 - the runtime fixes
from st_mm.ticket import KEY, load_checkpoint, plain_state

RANKS = 2
EPOCHS = 3
ON_RANKS = dict(
    launcher='pytorch',
    # the strategy names a GPU otherwise
    strategy=dict(
        type='DDPStrategy',
        model_wrapper=dict(
            type='MMDistributedDataParallel', broadcast_buffers=False, device_ids=None
        ),
    ),
)
EVENTS = [('prune', 1), ('search', 2), ('prune', 2), ('prune', 3)]


@DATASETS.register_module()
class Noise(Dataset):
    """8 pictures of noise in 2 classes."""

    metainfo: ClassVar[dict] = dict(classes=['a', 'b'])

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict:
        noise = torch.Generator().manual_seed(index)
        sample = DataSample().set_gt_label(index % 2)
        return dict(inputs=255 * torch.rand(3, 32, 32, generator=noise), data_samples=sample)


@HOOKS.register_module()
class SameStart(Hook):
    """Draws the first weights itself: the two runners draw them at different times."""

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        if not runner.iter:
            generator = torch.Generator().manual_seed(0)
            for parameter in runner.model.parameters():
                if parameter.dim() > 1:
                    torch.nn.init.kaiming_normal_(parameter.data, generator=generator)


def config(work_dir: Path, epochs: int = EPOCHS, **changes: object) -> Config:
    """A small MobileNetV2 that is searched and pruned."""
    name = f'{work_dir.parent.name}-{work_dir.name}-{epochs}'
    return Config(
        dict(
            model=dict(
                type='ImageClassifier',
                backbone=dict(type='MobileNetV2', widen_factor=0.1),
                neck=dict(type='GlobalAveragePooling'),
                head=dict(type='LinearClsHead', num_classes=2, in_channels=1280),
                data_preprocessor=dict(type='ClsDataPreprocessor', mean=[127] * 3, std=[60] * 3),
            ),
            work_dir=str(work_dir),
            experiment_name=name,
            default_scope='mmpretrain',
            log_level='WARNING',
            custom_hooks=[
                dict(type='SameStart'),
                dict(
                    type='SearchHook',
                    interval=2,
                    rho=0.1,
                    warmup=0,
                    threshold=0.995,
                    min_macs_drop=1,
                    input_shape=(3, 32, 32),
                    calibration_batches=2,
                ),
                dict(
                    type='ProgressivePruneHook',
                    ratio=0.9,
                    interval=1,
                    step=0.3,
                    calibration_batches=2,
                ),
            ],
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            train_dataloader=dict(
                dataset=dict(type='Noise'),
                batch_size=4,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False),
                collate_fn=dict(type='pseudo_collate'),
            ),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
            randomness=dict(seed=0),
            env_cfg=dict(dist_cfg=dict(backend='gloo')),
            **changes,
        )
    )


def assert_same_ticket(ours: Path, theirs: Path) -> None:
    ours_saved, theirs_saved = load_checkpoint(ours), load_checkpoint(theirs)
    ours_ticket, theirs_ticket = (saved['meta'][KEY] for saved in (ours_saved, theirs_saved))
    assert [(event['kind'], event['t']) for event in theirs_ticket['events']] == EVENTS
    assert theirs_ticket['events'][1]['removed'] > 0
    assert ours_ticket['events'] == theirs_ticket['events']
    assert ours_ticket['units'] == theirs_ticket['units']
    for name, mask in theirs_ticket['masks'].items():
        assert torch.equal(ours_ticket['masks'][name]['bits'], mask['bits']), name
    state, weights = plain_state(ours_saved), plain_state(theirs_saved)
    assert state.keys() == weights.keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in state.items())


@pytest.mark.slow
def test_one_process(tmp_path: Path) -> None:
    """Also where it is interrupted."""
    Runner.from_cfg(config(tmp_path / 'plain')).train()
    plain = tmp_path / 'plain' / f'epoch_{EPOCHS}.pth'
    FlexibleRunner.from_cfg(config(tmp_path / 'flexible')).train()
    assert_same_ticket(tmp_path / 'flexible' / plain.name, plain)
    halfway = str(tmp_path / 'flexible' / 'epoch_2.pth')
    resumed = config(tmp_path / 'resumed', load_from=halfway, resume=True)
    FlexibleRunner.from_cfg(resumed).train()
    assert_same_ticket(tmp_path / 'resumed' / plain.name, plain)


@pytest.mark.slow
def test_two_ranks(tmp_path: Path) -> None:
    """The strategy's wrapper is built anew when units go."""
    with socket.socket() as free:
        free.bind(('localhost', 0))
        port = free.getsockname()[1]
    launch = ['torch.distributed.run', f'--nproc_per_node={RANKS}', f'--master_port={port}']
    done = subprocess.run(
        [sys.executable, '-m', *launch, __file__, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    last = f'epoch_{EPOCHS}.pth'
    assert_same_ticket(tmp_path / 'flexible' / last, tmp_path / 'plain' / last)


if __name__ == '__main__':
    folder = Path(sys.argv[1])
    for kind, name in ((Runner, 'plain'), (FlexibleRunner, 'flexible')):
        entries = config(folder / name, **ON_RANKS)
        if kind is Runner:
            entries.pop('strategy')
        kind.from_cfg(entries).train()
