"""A compiled ticket in Python: numpy arrays in, numpy arrays out, no mm and no torch."""

import ctypes
import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .build import build_library

Floats = NDArray[np.float32]


class Engine:
    """A ticket that runs in the sparse engine.

    Args:
        path (str | Path): A weights file that ``tools/deploy/compile.py`` wrote.
        threads (int): Threads to run on; results do not depend on it. Defaults to 1.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, truncated, newer than this engine, or another one.
        NoCompiler: If the engine is not built yet and there is no C compiler.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        if not Path(path).is_file():
            raise FileNotFoundError(f'there is no weights file {path}')
        self.threads = threads
        self._lock = threading.Lock()  # calls share the engine's memory
        self._library = _load(build_library())
        error = ctypes.create_string_buffer(256)
        self._engine = self._library.st_open(os.fsencode(path), error, len(error))
        if not self._engine:
            raise ValueError(f'{path}: {error.value.decode()}')
        self.channels: int = self._library.st_channels(self._engine)
        self.metadata: dict[str, Any] = json.loads(self._library.st_metadata(self._engine))

    def __call__(self, pictures: Floats) -> list[Floats]:
        """Run normalized pictures.

        Args:
            pictures (ndarray): (B, C, H, W) or (C, H, W), normalized as the network wants them.

        Returns:
            list[ndarray]: The outputs, in float32, with the axes that the network gives them.

        Raises:
            ValueError: If the network does not take pictures of that shape.
        """
        pictures = np.ascontiguousarray(pictures, np.float32)
        if pictures.ndim == 3:
            pictures = pictures[None]
        if pictures.ndim != 4 or pictures.shape[1] != self.channels or not len(pictures):
            raise ValueError(
                f'pictures must be (B, {self.channels}, H, W), got {tuple(pictures.shape)}'
            )
        batch, _, height, width = pictures.shape
        with self._lock:
            outputs = [
                np.empty((batch, *self._shape(i, height, width)), np.float32)
                for i in range(self._library.st_outputs(self._engine))
            ]
            places = (ctypes.c_void_p * len(outputs))(*(output.ctypes.data for output in outputs))
            size = batch, height, width
            self._call('st_run', pictures.ctypes.data, *size, places, self.threads)
        shaped = []
        for output, rank in zip(outputs, self.metadata['ranks'], strict=True):
            shaped.append(output.reshape(output.shape[:2]) if rank == 2 else output)
            if rank == 3:
                shaped[-1] = output.squeeze(2)
        return shaped

    def segment(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Label the pixels of a picture: normalized, run, resized to the picture, largest class.

        Args:
            picture (ndarray): (H, W, 3), RGB, 0 to 255.

        Returns:
            ndarray: (H, W), the class of each pixel.

        Raises:
            ValueError: If the network does not take such a picture.
        """
        picture = np.ascontiguousarray(picture)
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ValueError(
                f'a picture must be (H, W, 3) of uint8, got {picture.shape} of {picture.dtype}'
            )
        labels = np.empty(picture.shape[:2], np.uint8)
        with self._lock:
            places = picture.ctypes.data, *picture.shape[:2], labels.ctypes.data
            self._call('st_segment', *places, self.threads)
        return labels

    def _call(self, name: str, *arguments: Any) -> None:
        """Call one function of the library; raise what it says."""
        if getattr(self._library, name)(self._engine, *arguments):
            raise ValueError(self._library.st_error(self._engine).decode())

    def _shape(self, output: int, height: int, width: int) -> tuple[int, int, int]:
        shape = (ctypes.c_int * 3)()
        self._call('st_output_shape', output, height, width, shape)
        return shape[0], shape[1], shape[2]

    def __del__(self) -> None:
        if getattr(self, '_engine', None):
            self._library.st_close(self._engine)
            self._engine = None


def load(path: str | Path, threads: int = 1) -> Engine:
    """Open a compiled ticket: ``load(path)(pictures)``; see :class:`Engine`."""
    return Engine(path, threads)


def _load(library: Path) -> ctypes.CDLL:
    """Open the library and declare what it offers."""
    # threads that wait must not spin: they would take the time of those that work
    os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
    loaded = ctypes.CDLL(str(library))
    whole, place, text = ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p
    signatures: dict[str, tuple[Any, list[Any]]] = dict(
        st_open=(place, [text, text, ctypes.c_size_t]),
        st_open_memory=(place, [text, ctypes.c_size_t, text, ctypes.c_size_t]),
        st_close=(None, [place]),
        st_channels=(whole, [place]),
        st_outputs=(whole, [place]),
        st_metadata=(text, [place]),
        st_error=(text, [place]),
        st_output_shape=(whole, [place, whole, whole, whole, place]),
        st_run=(whole, [place, place, whole, whole, whole, place, whole]),
        st_segment=(whole, [place, place, whole, whole, place, whole]),
    )
    for name, (result, arguments) in signatures.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded
