"""Files that are never half there: written beside their place, then moved into it."""

import os
import zipfile
from pathlib import Path

from mmengine.fileio import LocalBackend
from mmengine.fileio.backends import register_backend


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
