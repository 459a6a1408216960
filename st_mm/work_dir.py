"""The rules of a work dir: which checkpoint a training continues from, and what a kill leaves."""

import os
import re
import stat
import warnings
from pathlib import Path
from typing import Any

import torch

from .files import check_checkpoint, write_atomically
from .printable import printable, reason

INITIAL = 'initial.pth'  # the weights before the first step
NOTE = 'last_checkpoint'  # where mmengine notes its last checkpoint
LONGEST_NOTE = 4096  # bytes; a path is not longer
# what a checkpoint of a training has, and a published or an extracted one has not
OF_TRAINING = {'meta', 'state_dict', 'message_hub'}


def tidy_work_dir(work_dir: str | Path) -> None:
    """Clear away what a kill has left in a work dir, before a run is resumed from it.

    mmengine writes ``last_checkpoint`` in place, so that a kill can leave it empty, and removes
    checkpoints that it has enough of before a new one is named there. The note then gets the
    checkpoint that is furthest on. Parts of files that never came into their place are removed.

    Args:
        work_dir (str | Path): Work dir of the run; may be new.

    Raises:
        ValueError: If ``last_checkpoint`` is not a file with a path in it, or all checkpoints of
            the work dir are damaged.
    """
    work_dir = Path(work_dir).resolve()
    for partial in work_dir.glob('.*.part'):
        partial.unlink()
    note = work_dir / NOTE
    text = read_note(work_dir)
    if text:
        named = Path(text).resolve()
        if '://' in text or named.is_file() or named.parent != work_dir:
            return
    furthest = furthest_checkpoint(work_dir)
    if furthest:
        write_atomically(note, str(furthest).encode())
    else:
        note.unlink(missing_ok=True)


def read_note(work_dir: str | Path) -> str:
    """Read ``last_checkpoint``.

    Args:
        work_dir (str | Path): Work dir of a run.

    Returns:
        str: The path or address that it names; empty if it is empty, or not there.

    Raises:
        ValueError: If it is not a file, or holds something else.
    """
    note = Path(work_dir) / NOTE
    try:
        mode = note.stat().st_mode
    except FileNotFoundError:
        return ''
    advice = f'remove {note} to go on from the checkpoint of the work dir that is furthest on'
    if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
        raise ValueError(f'{note} is not a file; {advice}')
    with open(note, 'rb') as file:
        data = file.read(LONGEST_NOTE + 1)
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        text = '\0'
    if len(data) > LONGEST_NOTE or printable(text) != text:
        raise ValueError(f'{note} does not hold the path of a checkpoint; {advice}')
    return text


def furthest_checkpoint(work_dir: str | Path) -> Path | None:
    """Find the checkpoint of a training that is furthest on, by its contents.

    Args:
        work_dir (str | Path): Work dir of a run. Checkpoints have mmengine's names, such as
            ``epoch_3.pth`` or ``iter_2000.pth``, and say the same number inside.

    Returns:
        Path | None: The checkpoint; None if there is none.

    Raises:
        ValueError: If there are checkpoints, and all of them are damaged.
    """
    found, damaged = [], []
    for path in sorted(Path(work_dir).glob('*.pth')):
        match = _number_in(path)
        if not match or not path.is_file():
            continue
        try:
            meta = _meta_of(path)
        except ValueError as error:
            damaged.append(error)
            continue
        unit, number = match[1], int(match[2])
        times = (meta.get('iter'), meta.get('epoch'))
        if all(type(time) is int for time in times) and meta.get(unit) == number:
            found.append((times, path))
    for problem in damaged:
        warnings.warn(f'passed over: {printable(problem)}', stacklevel=2)
    if damaged and not found:
        raise ValueError(f'no checkpoint of {work_dir} can be read: {damaged[-1]}')
    return max(found)[1] if found else None


def has_checkpoint(work_dir: str | Path) -> bool:
    """Tell whether there may be something to resume from: a note, or a checkpoint by name."""
    folder = Path(work_dir)
    return os.path.lexists(folder / NOTE) or any(map(_number_in, folder.glob('*.pth')))


def _number_in(path: Path) -> re.Match[str] | None:
    """Read the unit of time and the number from mmengine's name of a checkpoint."""
    return re.fullmatch(r'(epoch|iter)_(\d+)\.pth', path.name)


def _meta_of(path: Path) -> dict[str, Any]:
    """Read the meta of a training's checkpoint; empty for another file. Tensors are not read."""
    check_checkpoint(path)
    try:
        checkpoint = torch.load(str(path), map_location='cpu', weights_only=True, mmap=True)
    except Exception as error:  # whatever the unpickler meets
        raise ValueError(f'{path} is not a checkpoint that can be read: {reason(error)}') from error
    if not isinstance(checkpoint, dict) or not checkpoint.keys() >= OF_TRAINING:
        return {}
    meta = checkpoint['meta']
    return meta if isinstance(meta, dict) else {}


class WorkDirLock:
    """A lock on a work dir: one training at a time, for as long as its process lives.

    The operating system frees it when the process ends, however that happens. A process that has
    it may take it again: trainings in one process come one after another.
    """

    held: dict[Path, int] = {}  # noqa: RUF012 - of the process, by work dir

    @classmethod
    def take(cls, work_dir: str | Path) -> None:
        """Take the lock.

        Args:
            work_dir (str | Path): Made if needed.

        Raises:
            BlockingIOError: If another process has it.
        """
        folder = Path(work_dir).resolve()
        if folder in cls.held:
            return
        folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, 'O_NOFOLLOW', 0)
        handle = os.open(folder / '.lock', flags, 0o666)
        try:
            _lock(handle)
        except BlockingIOError:
            os.close(handle)
            raise BlockingIOError(
                f'another training runs in {folder}: wait for its end, or choose another work_dir'
            ) from None
        except OSError:  # a file system without locks
            os.close(handle)
            return
        cls.held[folder] = handle

    @classmethod
    def release(cls, work_dir: str | Path) -> None:
        """Give the lock back, if it is held."""
        handle = cls.held.pop(Path(work_dir).resolve(), None)
        if handle is not None:
            os.close(handle)

    @classmethod
    def leave(cls) -> None:
        """Close the locks in a forked child: they are its parent's, and end with that."""
        for handle in cls.held.values():
            os.close(handle)
        cls.held.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=WorkDirLock.leave)


def _lock(handle: int) -> None:
    """Lock an open file, or raise :class:`BlockingIOError`."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError as error:
            raise BlockingIOError(str(error)) from error
        return
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
