"""Files are whole or not there, through every way mm writes them."""

import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
import torch
from mmengine import fileio
from mmengine.hooks import CheckpointHook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from st_mm import files
from st_mm.files import (
    AtomicLocalBackend,
    check_checkpoint,
    check_output,
    write_atomically,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize('data', [b'', b'x', bytes(10**6)], ids=len)
@pytest.mark.parametrize('as_text', [False, True])
def test_write(tmp_path, data, as_text) -> None:
    path = tmp_path / 'new' / 'folder' / 'file.pth'
    write_atomically(str(path) if as_text else path, data)
    assert path.read_bytes() == data
    write_atomically(path, data + b'!')
    assert path.read_bytes() == data + b'!'
    assert names(path.parent) == ['file.pth']


def test_relative_path(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_atomically('file', b'x')
    assert names(tmp_path) == ['file']


@pytest.mark.parametrize('error', [OSError('disk full'), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize('broken', ['write', 'fsync', 'replace'])
@pytest.mark.parametrize('old', [None, b'old'])
def test_failure_leaves_what_was_there(tmp_path, monkeypatch, error, broken, old) -> None:
    path = tmp_path / 'file.pth'
    if old:
        path.write_bytes(old)

    def fail(*args, **kwargs):
        assert names(tmp_path) != (['file.pth'] if old else []), 'nothing was written beside it'
        raise error

    if broken == 'write':
        real = open

        def half(name, mode='r', **kwargs):
            file = real(name, mode, **kwargs)
            if 'w' in mode:
                file.write(b'half')
                file.close()
                fail()
            return file

        monkeypatch.setattr(files, 'open', half, raising=False)
    else:
        monkeypatch.setattr(os, broken, fail)
    with pytest.raises(type(error)):
        write_atomically(path, b'new' * 1000)
    monkeypatch.undo()
    assert names(tmp_path) == (['file.pth'] if old else [])
    if old:
        assert path.read_bytes() == old


def test_synced_before_it_is_moved(tmp_path, monkeypatch) -> None:
    calls = []
    real = {name: getattr(os, name) for name in ('fsync', 'replace')}
    for name in real:
        monkeypatch.setattr(
            os, name, lambda *args, name=name: (calls.append(name), real[name](*args))[1]
        )
    write_atomically(tmp_path / 'file', b'x')
    assert calls == ['fsync', 'replace']


def test_reader_never_sees_half(tmp_path) -> None:
    path = tmp_path / 'file'
    contents = [bytes([i]) * 200_000 for i in range(20)]
    write_atomically(path, contents[0])
    seen, stop = set(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for content in contents:
        write_atomically(path, content)
    stop.set()
    reader.join()
    assert seen <= set(contents)


def test_kill_in_the_middle(tmp_path) -> None:
    """Nothing, not even cleaning up, runs after a kill: the name still has the old file."""
    path = tmp_path / 'file'
    path.write_bytes(b'old')
    code = (
        'import os, sys; from st_mm.files import write_atomically; '
        'os.replace = lambda *args: os._exit(9); write_atomically(sys.argv[1], b"new")'
    )
    assert subprocess.run([sys.executable, '-c', code, path], check=False).returncode == 9
    assert path.read_bytes() == b'old'
    assert len(names(tmp_path)) == 2, 'the part of it that was written lies beside it'
    write_atomically(path, b'newer')
    assert path.read_bytes() == b'newer'


# As a backend of mmengine

BACKEND = dict(backend='atomic')


def test_backend_is_registered(tmp_path, monkeypatch) -> None:
    backend = fileio.get_file_backend(backend_args=BACKEND)
    assert isinstance(backend, AtomicLocalBackend)
    path = tmp_path / 'folder' / 'file'
    fileio.put(b'bytes', path, backend_args=BACKEND)
    assert fileio.get(path, backend_args=BACKEND) == b'bytes'
    fileio.put_text('täxt', str(path), backend_args=BACKEND)
    assert fileio.get_text(path, backend_args=BACKEND) == 'täxt'
    backend.put_text('ä', path, encoding='latin-1')
    assert path.read_bytes() == b'\xe4'
    monkeypatch.setattr(os, 'replace', lambda *args: (_ for _ in ()).throw(OSError('full')))
    with pytest.raises(OSError, match='full'):
        fileio.put(b'new', path, backend_args=BACKEND)
    assert path.read_bytes() == b'\xe4'
    assert names(path.parent) == ['file']


def test_default_backend_is_left_alone() -> None:
    assert type(fileio.get_file_backend('/somewhere')).__name__ == 'LocalBackend'


class Model(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(1, 1)

    def forward(self, inputs, labels, mode='tensor'):
        return dict(loss=(self.fc(inputs) - labels).square().mean())


def runner(folder: Path) -> Runner:
    data = TensorDataset(torch.ones(2, 1), torch.ones(2, 1))
    checkpoint = CheckpointHook(interval=1, by_epoch=True, max_keep_ckpts=2, backend_args=BACKEND)
    return Runner(
        model=Model(),
        work_dir=str(folder),
        train_dataloader=DataLoader(data, batch_size=2),
        train_cfg=dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=checkpoint, logger=None),
        default_scope='mmengine',
        log_level='ERROR',
        experiment_name=folder.name,
    )


def checkpoints(folder: Path) -> list[str]:
    return [name for name in names(folder) if name.endswith(('.pth', '.part'))]


def test_checkpoint_hook(tmp_path) -> None:
    runner(tmp_path).train()
    assert checkpoints(tmp_path) == ['epoch_2.pth', 'epoch_3.pth']  # old ones go as ever
    last = tmp_path / 'epoch_3.pth'
    assert torch.load(last, weights_only=False)['meta']['epoch'] == 3
    assert (tmp_path / 'last_checkpoint').read_text() == str(last)


def test_checkpoint_hook_that_fails(tmp_path, monkeypatch) -> None:
    real, saved = os.replace, []

    def full(source, target) -> None:
        saved.append(target)
        if len(saved) > 2:
            raise OSError('disk full')
        real(source, target)

    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(OSError, match='disk full'):
        runner(tmp_path).train()
    left = checkpoints(tmp_path)
    assert left
    assert not any(name.endswith('.part') for name in left)
    for name in left:
        torch.load(tmp_path / name, weights_only=False)


# Checks


def test_check_checkpoint(tmp_path) -> None:
    path = tmp_path / 'file.pth'
    with pytest.raises(FileNotFoundError, match=r'file\.pth; check load_from'):
        check_checkpoint(path)
    with pytest.raises(FileNotFoundError):
        check_checkpoint(tmp_path)
    path.write_bytes(b'')
    with pytest.raises(ValueError, match=r'truncated \(0 bytes\)'):
        check_checkpoint(path)
    torch.save(dict(w=torch.ones(1000)), path)
    check_checkpoint(path)
    check_checkpoint(str(path))
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    with pytest.raises(ValueError, match=rf'truncated \({len(data) - 100} bytes\)'):
        check_checkpoint(str(path))
    torch.save(dict(w=torch.ones(9)), path, _use_new_zipfile_serialization=False)
    check_checkpoint(path)


@pytest.mark.parametrize('address', ['https://a.b/c.pth', 'open-mmlab://resnet50', 's3://x/y.pth'])
def test_addresses_are_left_to_their_loaders(address) -> None:
    check_checkpoint(address)


def test_check_checkpoint_of_one_byte(tmp_path) -> None:
    path = tmp_path / 'file.pth'
    path.write_bytes(b'P')
    with pytest.raises(ValueError, match='truncated'):
        check_checkpoint(path)


@pytest.mark.parametrize('exists', [True, False])
def test_links_stay_links(tmp_path, exists) -> None:
    target, link = tmp_path / 'disk' / 'file.pth', tmp_path / 'link.pth'
    if exists:
        target.parent.mkdir()
        target.write_bytes(b'old')
    link.symlink_to(target)
    write_atomically(link, b'new')
    assert link.is_symlink()
    assert target.read_bytes() == b'new'
    assert [path.name for path in target.parent.iterdir()] == ['file.pth']


def test_damage_that_torch_does_not_see(tmp_path) -> None:
    """One bit of a weight: torch writes checksums and never looks at them."""
    path = tmp_path / 'file.pth'
    torch.save(dict(w=torch.ones(1000)), path)
    data = bytearray(path.read_bytes())
    at = data.index(torch.ones(3).numpy().tobytes()) + 99
    data[at] ^= 64
    path.write_bytes(data)
    assert not torch.equal(torch.load(path)['w'], torch.ones(1000))
    with pytest.raises(ValueError, match=r'file\.pth is damaged \(the checksum of .*data/0'):
        check_checkpoint(path)


def test_archives_without_checksums_are_left_alone(tmp_path) -> None:
    path = tmp_path / 'file.pth'
    torch.save(dict(w=torch.ones(10)), path)
    with zipfile.ZipFile(path) as archive:
        sums = [entry.CRC.to_bytes(4, 'little') for entry in archive.infolist()]
    data = path.read_bytes()
    for crc in sums:
        data = data.replace(crc, bytes(4))
    path.write_bytes(data)
    check_checkpoint(path)


def test_a_compressed_archive_is_refused(tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / 'bomb.pth', 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('bomb/data.pkl', bytes(10**6))
    with pytest.raises(ValueError, match='compressed archive'):
        check_checkpoint(tmp_path / 'bomb.pth')


def test_a_pipe_is_not_a_checkpoint(tmp_path) -> None:
    os.mkfifo(tmp_path / 'pipe.pth')
    with pytest.raises(ValueError, match=r'pipe\.pth is not a file'):
        check_checkpoint(tmp_path / 'pipe.pth')


# Outputs


def test_devices_and_pipes_are_opened_and_stay(tmp_path) -> None:
    write_atomically('/dev/null', b'x')
    assert not os.path.isfile('/dev/null')
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, b'through')
    reader.join()
    assert read == [b'through']
    assert names(tmp_path) == ['pipe']


def test_parts_cannot_be_planted(tmp_path) -> None:
    """A link under the name that the part would get: a predictable one led elsewhere."""
    victim = tmp_path / 'victim'
    victim.write_bytes(b'precious')
    (tmp_path / f'.file.{os.getpid()}.part').symlink_to(victim)
    write_atomically(tmp_path / 'file', b'x')
    assert victim.read_bytes() == b'precious'


def test_modes_are_those_of_other_files(tmp_path) -> None:
    (tmp_path / 'plain').write_bytes(b'')
    write_atomically(tmp_path / 'new', b'')
    assert (tmp_path / 'new').stat().st_mode == (tmp_path / 'plain').stat().st_mode
    (tmp_path / 'new').chmod(0o640)
    write_atomically(tmp_path / 'new', b'x')
    assert (tmp_path / 'new').stat().st_mode & 0o777 == 0o640


def test_an_output_never_replaces_an_input(tmp_path) -> None:
    source, link = tmp_path / 'a.pth', tmp_path / 'link.pth'
    source.write_bytes(b'x')
    link.symlink_to(source)
    os.link(source, tmp_path / 'hard.pth')
    for same in (source, link, tmp_path / 'hard.pth', f'{tmp_path}/new/../a.pth'):
        with pytest.raises(FileExistsError, match='is read here'):
            check_output(same, [None, source], force=True)
    with pytest.raises(FileExistsError, match='--force'):
        check_output(source)
    check_output(source, force=True)
    check_output(tmp_path / 'b.pth', [source])
    check_output('/dev/null', [source])
    with pytest.raises(IsADirectoryError):
        check_output(tmp_path, force=True)


def test_the_old_checkpoint_goes_after_the_new_one_is_there(tmp_path, monkeypatch) -> None:
    """``max_keep_ckpts=1``: mmengine removes the only checkpoint before it writes the next."""
    real, seen = os.replace, []

    def watched(source, target) -> None:
        seen.append(checkpoints(tmp_path))
        real(source, target)

    monkeypatch.setattr(os, 'replace', watched)
    run = runner(tmp_path)
    next(h for h in run.hooks if isinstance(h, CheckpointHook)).max_keep_ckpts = 1
    run.train()
    parts = [[name for name in names if name.endswith('.pth')] for names in seen]
    assert parts == [[], ['epoch_1.pth'], ['epoch_2.pth']]
    assert checkpoints(tmp_path) == ['epoch_3.pth']
