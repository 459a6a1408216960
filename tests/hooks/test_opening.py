"""What a run does with its files before it begins, in real trainings."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from st_mm.ticket import load_checkpoint


class Store:
    """The client of a cloud store, which no machine here has."""

    objects: ClassVar[dict[str, bytes]] = {}

    def __init__(self, **kwargs: object) -> None:
        """Take no options."""

    def put(self, path: str, data: bytes) -> None:
        self.objects[path] = data

    def contains(self, path: str) -> bool:
        return path in self.objects

    def isdir(self, path: str) -> bool:
        return False


class Small(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, inputs, labels, mode='tensor'):
        loss = nn.functional.cross_entropy(self.head(self.body(inputs).relu()), labels)
        return dict(loss=loss)


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Runner]:
    def runner(epochs: int = 2, hooks: object = None, **kwargs) -> Runner:
        data = TensorDataset(torch.ones(4, 4), torch.tensor([0, 1, 0, 1]))
        shot = dict(type='PruneHook', schedule=dict(type='OneShot', ratio=0.5, at=1),
                    calibration_batches=0)  # fmt: skip
        return Runner(
            model=Small(),
            work_dir=str(tmp_path / 'run'),
            train_dataloader=DataLoader(data, batch_size=2),
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
            custom_hooks=[shot] if hooks is None else hooks,
            default_scope='mmengine',
            log_level='ERROR',
            experiment_name=f'{tmp_path.name}-{os.urandom(4).hex()}',
            cfg=Config(dict(work_dir=str(tmp_path / 'run'))),
            **kwargs,
        )

    return runner


def test_a_remote_out_dir_is_written_by_its_backend(build, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    client = ModuleType('petrel_client')
    client.client = SimpleNamespace(Client=Store)
    monkeypatch.setitem(sys.modules, 'petrel_client', client)
    hook = dict(type='CheckpointHook', interval=1, out_dir='s3://bucket/runs')
    build(default_hooks=dict(checkpoint=hook)).train()
    assert sorted(Store.objects) == [f's3://bucket/runs/run/epoch_{i}.pth' for i in (1, 2)]
    assert not list(tmp_path.rglob('*.pth'))
    assert not list(tmp_path.glob('s3*'))


def test_an_address_from_elsewhere_is_refused(build, tmp_path) -> None:
    run = build(resume=True)
    (tmp_path / 'run' / 'last_checkpoint').write_text('https://a.b/epoch_1.pth')
    with pytest.raises(ValueError, match=r'last_checkpoint in .* not in the out_dir'):
        run.train()


def test_resuming_without_a_note_goes_on(build, tmp_path) -> None:
    build(epochs=1).train()
    (tmp_path / 'run' / 'last_checkpoint').unlink()
    run = build(epochs=2, resume=True)
    run.train()
    assert run.iter == 4
    assert load_checkpoint(tmp_path / 'run' / 'epoch_2.pth')['meta']['iter'] == 4
    assert (tmp_path / 'run' / 'last_checkpoint').read_text().endswith('epoch_2.pth')


def test_a_second_training_is_refused_and_touches_nothing(build, tmp_path) -> None:
    build(epochs=1).train()
    hold = (
        'import sys; from st_mm.work_dir import WorkDirLock; WorkDirLock.take(sys.argv[1]); '
        'print("held", flush=True); sys.stdin.read()'
    )
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with subprocess.Popen([sys.executable, '-c', hold, tmp_path / 'run'], **pipes) as other:
        assert other.stdout.readline() == b'held\n'
        second = build(epochs=2, resume=True)
        (tmp_path / 'run' / '.epoch_2.pth.x.part').write_bytes(b'being written')
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'run').iterdir()}
        with pytest.raises(BlockingIOError, match='another training runs in'):
            second.train()
        assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / 'run').iterdir()}
        other.stdin.close()
        other.wait()
    build(epochs=2, resume=True).train()
