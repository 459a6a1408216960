"""A work dir after a kill, a damaged note, and two trainings at once."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from st_mm.work_dir import (
    WorkDirLock,
    furthest_checkpoint,
    has_checkpoint,
    read_note,
    tidy_work_dir,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def save(folder: Path, name: str, epoch: int, iteration: int, **entries) -> Path:
    content = dict(meta=dict(epoch=epoch, iter=iteration), state_dict={}, message_hub={}) | entries
    torch.save(content, folder / name)
    return folder / name


def test_tidying_a_work_dir(tmp_path) -> None:
    tidy_work_dir(tmp_path / 'new')  # nothing there, nothing to do
    (tmp_path / '.epoch_3.pth.7.part').write_bytes(b'PK')
    (tmp_path / 'last_checkpoint').write_text('')
    tidy_work_dir(tmp_path)
    assert names(tmp_path) == []  # no checkpoint: a note would lead nowhere

    for index, epoch in enumerate((2, 1)):
        path = save(tmp_path, f'epoch_{epoch}.pth', epoch, 4 * epoch)
        os.utime(path, (2 + index, 2 + index))  # the older one is newer on the disk
    (tmp_path / 'last_checkpoint').write_text('')
    tidy_work_dir(tmp_path)
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_2.pth')

    for name in ('initial.pth', 'best_mIoU_epoch_9.pth'):
        save(tmp_path, name, 9, 99)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_3.pth'))  # removed meanwhile
    tidy_work_dir(tmp_path)
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_2.pth')

    (tmp_path / 'last_checkpoint').write_text('elsewhere/epoch_9.pth')
    tidy_work_dir(tmp_path)
    assert (tmp_path / 'last_checkpoint').read_text() == 'elsewhere/epoch_9.pth'


def test_without_a_note_the_furthest_is_found(tmp_path) -> None:
    """mmengine would start over without a word."""
    for epoch in (9, 10):
        save(tmp_path, f'epoch_{epoch}.pth', epoch, 4 * epoch)
    assert has_checkpoint(tmp_path)
    tidy_work_dir(tmp_path)
    assert read_note(tmp_path) == str(tmp_path / 'epoch_10.pth')


@pytest.mark.parametrize(
    'foreign',
    [
        lambda folder: save(folder, 'resnet50.pth', 90, 9000),
        lambda folder: save(folder, 'epoch_7.pth', 90, 9000),  # says another time inside
        lambda folder: torch.save(dict(meta={}, state_dict={}), folder / 'epoch_7.pth'),
        lambda folder: torch.save(torch.ones(1), folder / 'epoch_7.pth'),
        lambda folder: (folder / 'epoch_7.pth').mkdir(),
    ],
)
def test_foreign_files_are_never_gone_on_from(tmp_path, foreign) -> None:
    foreign(tmp_path)
    assert furthest_checkpoint(tmp_path) is None
    ours = save(tmp_path, 'epoch_1.pth', 1, 4)
    assert furthest_checkpoint(tmp_path) == ours


def test_damaged_checkpoints_are_passed_over_aloud(tmp_path) -> None:
    ours = save(tmp_path, 'epoch_1.pth', 1, 4)
    (tmp_path / 'epoch_2.pth').write_bytes(ours.read_bytes()[:-50])
    with pytest.warns(UserWarning, match=r'passed over.*epoch_2\.pth is truncated'):
        assert furthest_checkpoint(tmp_path) == ours
    ours.unlink()
    with (
        pytest.warns(UserWarning, match='passed over'),
        pytest.raises(ValueError, match=r'no checkpoint of .* can be read'),
    ):
        tidy_work_dir(tmp_path)


@pytest.mark.parametrize(
    'make',
    [
        os.mkfifo,
        os.mkdir,
        lambda path: path.write_bytes(b'\xff\xfe\0'),
        lambda path: path.write_text('a\x1b[2Jb'),
        lambda path: path.write_text('a\nb'),
        lambda path: path.write_text('a' * 9999),
    ],
    ids=['pipe', 'folder', 'binary', 'escape', 'lines', 'long'],
)
def test_a_note_that_is_none(tmp_path, make) -> None:
    make(tmp_path / 'last_checkpoint')
    with pytest.raises(ValueError, match=rf'{re.escape(str(tmp_path))}/last_checkpoint .*; remove'):
        tidy_work_dir(tmp_path)


HOLD = """
import sys, time
from st_mm.work_dir import WorkDirLock
WorkDirLock.take(sys.argv[1])
print('held', flush=True)
time.sleep(60)
"""


def test_a_lock_dies_with_its_process(tmp_path) -> None:
    with subprocess.Popen([sys.executable, '-c', HOLD, tmp_path], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b'held\n'
        before = names(tmp_path)
        with pytest.raises(BlockingIOError, match='another training runs in'):
            WorkDirLock.take(tmp_path)
        assert names(tmp_path) == before
        other.kill()
        other.wait()
    WorkDirLock.take(tmp_path)
    WorkDirLock.take(tmp_path)  # one training after another in a process
    WorkDirLock.release(tmp_path)


def test_a_forked_child_does_not_keep_the_lock(tmp_path) -> None:
    """A worker of a data loader that outlives its training."""
    WorkDirLock.take(tmp_path)
    child = os.fork()
    if not child:
        time.sleep(20)
        os._exit(0)
    WorkDirLock.release(tmp_path)
    take = HOLD.replace('time.sleep(60)', '')
    done = subprocess.run([sys.executable, '-c', take, tmp_path], capture_output=True, check=False)
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, 'O_NOFOLLOW'), reason='the system follows links')
def test_a_planted_lock_is_not_followed(tmp_path) -> None:
    target = tmp_path / 'target'
    (tmp_path / '.lock').symlink_to(target)
    with pytest.raises(OSError, match='symbolic links'):
        WorkDirLock.take(tmp_path)
    assert not target.exists()
