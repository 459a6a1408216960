"""Files that are never half there: written beside their place, then moved into it."""

import os
import zipfile
from pathlib import Path

from mmengine.fileio import LocalBackend
from mmengine.fileio.backends import register_backend

INITIAL = 'initial.pth'  # the weights before the first step
ASIDE = ('best_', INITIAL)  # checkpoints that no training goes on from


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a file that a kill at any moment leaves as it was, or as it shall be.

    Args:
        path (str | Path): Where the file belongs; its folder is made if need be. A link stays,
            and its target is written.
        data (bytes): Its content.
    """
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        with open(partial, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@register_backend('atomic')
class AtomicLocalBackend(LocalBackend):
    """The local file backend, writing whole files only: ``backend_args=dict(backend='atomic')``."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; see :func:`write_atomically`."""
        write_atomically(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text; see :func:`write_atomically`."""
        write_atomically(filepath, obj.encode(encoding))


def check_checkpoint(path: str | Path) -> None:
    """Refuse a local checkpoint that is missing or cut off, by its name.

    Args:
        path (str | Path): A local path; addresses with a scheme are left to their loaders.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty or truncated.
    """
    if '://' in str(path):
        return
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'there is no checkpoint {path}; check load_from / --checkpoint')
    with open(path, 'rb') as file:
        start = file.read(2)
    if b'PK'.startswith(start) and not zipfile.is_zipfile(path):
        raise ValueError(
            f'the checkpoint {path} is truncated ({path.stat().st_size} bytes): copy it again, or '
            'resume from an earlier one'
        )


def tidy_work_dir(work_dir: str | Path) -> None:
    """Clear away what a kill has left in a work dir, before a run is resumed from it.

    mmengine writes ``last_checkpoint`` in place, so that a kill can leave it empty, and removes
    checkpoints that it has enough of before a new one is named there. The note then gets the newest
    checkpoint. Parts of files that never came into their place are removed.

    Args:
        work_dir (str | Path): Work dir of the run; may be new.
    """
    work_dir = Path(work_dir).resolve()
    for partial in work_dir.glob('.*.part'):
        partial.unlink()
    note = work_dir / 'last_checkpoint'
    if not note.is_file():
        return
    text = note.read_text().strip()
    named = Path(text).resolve()
    if text and (named.is_file() or named.parent != work_dir):
        return
    saved = [path for path in work_dir.glob('*.pth') if not path.name.startswith(ASIDE)]
    if saved:
        newest = max(saved, key=lambda path: path.stat().st_mtime)
        write_atomically(note, str(newest).encode())
    else:
        note.unlink()
