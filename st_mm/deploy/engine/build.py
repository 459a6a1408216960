"""Building the engine's library with the C compiler at hand, once for every source and machine."""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCE, HEADER = FOLDER / 'st_engine.c', FOLDER / 'st_engine.h'
FLAGS = ('-O3', '-march=native', '-std=gnu11', '-fPIC', '-shared', '-lm')
OPENMP = '-fopenmp'


class NoCompiler(RuntimeError):
    """There is no C compiler on this machine."""


def find_compiler() -> str:
    """The C compiler: ``$CC``, or the first of cc, gcc and clang.

    Raises:
        NoCompiler: If there is none.
    """
    names = [os.environ['CC']] if os.environ.get('CC') else ['cc', 'gcc', 'clang']
    for name in names:
        if found := shutil.which(name):
            return found
    raise NoCompiler(
        f'there is no C compiler here ({", ".join(names)}): install gcc or clang, or name one with '
        'CC=...'
    )


def cache_folder() -> Path:
    """Where built libraries are kept: ``$ST_MM_CACHE_DIR``, or the user's cache folder."""
    named = os.environ.get('ST_MM_CACHE_DIR')
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    return Path(named) if named else cache / 'st_mm'


def build_library(flags: tuple[str, ...] = FLAGS) -> Path:
    """Build the engine, or find it built: the same source, flags, compiler and processor.

    Args:
        flags (tuple[str, ...]): For the compiler, OpenMP apart, which is used where it is there.

    Returns:
        Path: The library.

    Raises:
        NoCompiler: If there is no C compiler.
        RuntimeError: If the compiler fails, with what it says.
    """
    compiler = find_compiler()
    key = hashlib.sha256()
    for part in (SOURCE.read_bytes(), HEADER.read_bytes(), ' '.join(flags), compiler, _machine()):
        key.update(part if isinstance(part, bytes) else part.encode())
    library = cache_folder() / f'st_engine-{key.hexdigest()[:16]}.so'
    if library.is_file():
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        built = Path(folder) / library.name
        for extra in ((OPENMP,), ()):
            command = [compiler, str(SOURCE), *extra, *flags, '-o', str(built)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if not done.returncode:
                os.replace(built, library)
                return library
    said = done.stderr.strip() or f'exit code {done.returncode}'
    raise RuntimeError(
        f'the C compiler failed on the engine, {compiler}: {said.splitlines()[0]}\n'
        f'{" ".join(command)}\n{said[-2000:]}'
    )


def _machine() -> str:
    """The processor, as far as the compiler's code depends on it."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
        told = [line for line in lines if line.startswith(('model name', 'flags', 'Features'))]
        return ' '.join(sorted(set(told)))
    except OSError:
        return f'{platform.machine()} {platform.processor()}'
