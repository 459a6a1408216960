"""Files that are never incomplete: written next to their place, then moved there."""

import os
import stat
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from mmengine.fileio import LocalBackend
from mmengine.fileio.backends import register_backend


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a file so that a kill at any moment leaves the old content or the new one.

    Args:
        path (str | Path): The file; its folder is made if needed. A link stays, and its target
            is written; a device or a pipe is opened, as it cannot be replaced.
        data (bytes): Its content.
    """
    if is_special(path):
        with open(path, 'wb') as file:
            file.write(data)
        return
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    # made exclusively, under a name that nobody can have put there before
    handle, partial = tempfile.mkstemp('.part', f'.{path.name[:100]}.', path.parent)
    try:
        with open(handle, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, _mode_of(path))
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _mode_of(path: Path) -> int:
    """Return the mode of a file, or that of a new file."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask


def is_special(path: str | Path) -> bool:
    """Check whether a path exists and is a device, a pipe or a socket."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def check_output(
    path: str | Path, inputs: Iterable[str | Path | None] = (), force: bool = False
) -> None:
    """Refuse an output that would replace an input, or an existing file, before any work is done.

    Args:
        path (str | Path): The output.
        inputs (Iterable[str | Path | None]): Files that are read; None is ignored. Defaults
            to none.
        force (bool): Whether another existing file may be replaced. Defaults to False.

    Raises:
        FileExistsError: If it would replace one.
        IsADirectoryError: If the path is a folder.
    """
    path = Path(path)
    if is_special(path):
        return
    if path.is_dir():
        raise IsADirectoryError(f'{path} is a folder: name a file in it')
    for source in inputs:
        if source is not None and _same(path, Path(source)):
            raise FileExistsError(
                f'{path} is read here, so it cannot be the output: choose another'
            )
    if path.exists() and not force:
        raise FileExistsError(
            f'{path} is there already: choose another name, or overwrite it with --force'
        )


def _same(path: Path, other: Path) -> bool:
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other.resolve()


@register_backend('atomic')
class AtomicLocalBackend(LocalBackend):
    """The local file backend, writing whole files only: ``backend_args=dict(backend='atomic')``.

    mmengine removes the checkpoint that it has enough of before it writes the next one. Here it is
    removed after that: a kill in between leaves the one or the other.
    """

    going: ClassVar[dict[Path, list[Path]]] = {}  # checkpoints to be removed, by folder

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; see :func:`write_atomically`."""
        write_atomically(filepath, obj)
        path = Path(filepath).absolute()
        for old in self.going.pop(path.parent, []):
            if old != path:
                old.unlink(missing_ok=True)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text; see :func:`write_atomically`."""
        write_atomically(filepath, obj.encode(encoding))

    def remove(self, filepath: str | Path) -> None:
        """Remove a file; a checkpoint is removed after the next one has been written."""
        path = Path(filepath).absolute()
        if path.suffix == '.pth':
            self.going.setdefault(path.parent, []).append(path)
        else:
            super().remove(filepath)


def check_checkpoint(path: str | Path) -> None:
    """Refuse a local checkpoint that is missing, cut off or damaged, by its name.

    torch writes a checksum of every tensor, and does not look at it when it reads. Archives that
    were written without checksums have zeros there.

    Args:
        path (str | Path): A local path; addresses with a scheme are left to their loaders.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a file, or empty, truncated or damaged.
    """
    if '://' in str(path):
        return
    path = Path(path).expanduser()
    if is_special(path):
        raise ValueError(f'{path} is not a file: a checkpoint is read from a file')
    if not path.is_file():
        raise FileNotFoundError(f'there is no checkpoint {path}; check load_from / --checkpoint')
    with open(path, 'rb') as file:
        start = file.read(2)
    if not b'PK'.startswith(start):
        return
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f'the checkpoint {path} is truncated ({path.stat().st_size} bytes): copy it again, or '
            'resume from an earlier one'
        )
    damage = 'copy it again, or resume from an earlier one'
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            summed = stored and any(entry.CRC for entry in entries)
            broken = archive.testzip() if summed else None
    except Exception as error:  # zipfile reads names, sizes and dates without looking at them
        raise ValueError(f'the checkpoint {path} is damaged ({error}): {damage}') from error
    if not stored:
        raise ValueError(f'{path} is a compressed archive, which torch does not write')
    if broken is not None:
        raise ValueError(
            f'the checkpoint {path} is damaged (the checksum of {broken!r} differs): {damage}'
        )
