"""What a checkpoint may name while ``torch.load`` reads it, and what these names stand for here.

A checkpoint of mmengine holds, besides tensors and plain values, ``HistoryBuffer`` in its message
hub, numpy scalars (metrics) and arrays (history, mmpose's dataset meta), and the annealing function
of ``OneCycleParamScheduler``. The list is a trust boundary: a file chooses the arguments, so that
no name is bound to what it names. ``np.ndarray`` itself, called by a file, is a pointer of the
file's choice; ``getattr`` reaches anything; ``HistoryBuffer`` takes methods for its class.
"""

import math
import pickle
import re
from typing import Any, NoReturn

import numpy as np
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

# bools, integers, floats and complex numbers of the usual sizes; bytes and text of any
NUMERIC = re.compile(r'[<>=|]?(b1|[iu][1248]|f[248]|c8|c16|\?)')
TEXT = re.compile(r'[<>=|]?[SU]([1-9]\d{0,5})')
# numpy 2 renamed the package, and files outlive the numpy they were written with
MULTIARRAY = ('numpy.core.multiarray', 'numpy._core.multiarray')
MOST_DIMENSIONS = 32


class FileDtype:
    """What ``numpy.dtype`` stands for in a file: the name of a native dtype of numbers or text."""

    def __init__(self, code: Any, *flags: Any) -> None:
        if not isinstance(code, str) or not (NUMERIC.fullmatch(code) or TEXT.fullmatch(code)):
            raise pickle.UnpicklingError(
                f'the checkpoint has an array of dtype {code!r}: only numbers and text are read'
            )
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        """Take the byte order; fields, sub-arrays and metadata have no place."""
        plain = isinstance(state, tuple) and len(state) in (8, 9)
        if not plain or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError(
                'the checkpoint has an array with fields: only numbers and text are read'
            )
        if state[1] not in ('<', '>', '|', '='):
            raise pickle.UnpicklingError('the checkpoint has an array of unknown byte order')
        if state[1] in '<>':
            self.dtype = self.dtype.newbyteorder(state[1])


class FileArray(np.ndarray[Any, Any]):
    """An array out of a file. It is pickled as the ``ndarray`` that it otherwise is."""

    def __setstate__(self, state: Any) -> None:
        """Take shape, dtype and bytes that fit each other."""
        if not (isinstance(state, tuple) and len(state) == 5):
            raise pickle.UnpicklingError('the checkpoint has an array of an unknown form')
        _, shape, dtype, by_columns, data = state
        sizes = isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape)
        if not sizes or len(shape) > MOST_DIMENSIONS:
            raise pickle.UnpicklingError(f'the checkpoint has an array of shape {shape!r}')
        native = _native(dtype, data, math.prod(shape))
        super().__setstate__((1, shape, native.dtype, bool(by_columns), native.tobytes()))

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle as an ``ndarray``: no other program has to know this class."""
        return self.view(np.ndarray).__reduce_ex__(protocol)

    def __reduce__(self) -> Any:
        """Copy as an ``ndarray``."""
        return self.view(np.ndarray).__reduce__()


class FileHistory(HistoryBuffer):
    """What ``HistoryBuffer`` stands for in a file: values and counts, without methods."""

    def __new__(cls, *arguments: Any) -> 'FileHistory':
        """Make an empty one; a file gives the values afterwards."""
        if arguments:
            raise pickle.UnpicklingError('the checkpoint has a log history of an unknown form')
        history: FileHistory = super().__new__(cls)
        HistoryBuffer.__init__(history)
        return history

    def __setstate__(self, state: Any) -> None:
        """Take the history, and become the buffer that mmengine looks for.

        mmengine would also take the methods of the file, for every buffer of the process.
        """
        if not isinstance(state, dict):
            raise pickle.UnpicklingError('the checkpoint has a log history of an unknown form')
        values: Any = state.get('_log_history')
        counts: Any = state.get('_count_history')
        most = state.get('max_length')
        for part in (values, counts):
            if not isinstance(part, np.ndarray) or part.ndim != 1 or part.dtype.kind not in 'biuf':
                raise pickle.UnpicklingError(
                    'the checkpoint has a log history that is not a row of numbers'
                )
        if len(values) != len(counts) or type(most) is not int or most < 1:
            raise pickle.UnpicklingError(
                'the checkpoint has a log history whose values and counts do not fit each other'
            )
        # files keep the last max_length values
        HistoryBuffer.__init__(self, np.array(values)[-most:], np.array(counts)[-most:], most)
        self.__class__ = HistoryBuffer


def checkpoint_globals() -> list[Any]:
    """The entries for ``torch.serialization.add_safe_globals``.

    A class whose instances are built up in steps has to be on the list. Such a one is entered under
    a name without a dot, which no file can say.
    """
    allowed: list[Any] = [
        (FileHistory, 'mmengine.logging.history_buffer.HistoryBuffer'),
        (FileDtype, 'numpy.dtype'),
        (FileArray, 'FileArray'),
        (ndarray, 'numpy.ndarray'),
        (one_cycle, 'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler'),
        (known_method, 'builtins.getattr'),
        (no_bytes, 'builtins.bytes'),
    ]
    for package in MULTIARRAY:
        allowed += [(scalar, f'{package}.scalar'), (empty_array, f'{package}._reconstruct')]
    return allowed


def ndarray(*arguments: Any) -> NoReturn:
    """Stand for the class ``np.ndarray``, which a file may name and not call."""
    raise pickle.UnpicklingError('the checkpoint calls numpy.ndarray, which no checkpoint does')


def one_cycle(*arguments: Any) -> NoReturn:
    """Stand for the class ``OneCycleParamScheduler``, which a file may name and not call."""
    raise pickle.UnpicklingError(
        'the checkpoint calls OneCycleParamScheduler, which no checkpoint does'
    )


def no_bytes(*arguments: Any) -> bytes:
    """Stand for ``bytes``, which an array without elements calls without arguments.

    Raises:
        pickle.UnpicklingError: If there are arguments.
    """
    if arguments:
        raise pickle.UnpicklingError('the checkpoint calls bytes, which no checkpoint does')
    return b''


def empty_array(kind: Any, shape: Any, code: Any) -> FileArray:
    """Begin an array; its shape, dtype and bytes follow.

    Raises:
        pickle.UnpicklingError: If it is something else that is to begin.
    """
    if kind is not ndarray:
        raise pickle.UnpicklingError(f'the checkpoint has an array of an unknown class ({kind!r})')
    return FileArray((0,), np.int8)


def scalar(dtype: Any, data: Any = None) -> np.generic:
    """Make a numpy scalar of its bytes.

    Raises:
        pickle.UnpicklingError: If dtype and bytes do not fit each other.
    """
    value: np.generic = _native(dtype, data, 1)[0]
    return value


def known_method(owner: Any, name: Any) -> Any:
    """Stand for ``getattr``, by which methods are pickled: only those a checkpoint really holds.

    Raises:
        pickle.UnpicklingError: If it is another one.
    """
    if owner is one_cycle and name in ('_annealing_cos', '_annealing_linear'):
        return getattr(OneCycleParamScheduler, name)
    if owner is FileHistory and name in ('min', 'max', 'current', 'mean'):
        return name  # they are the class's own, whatever a file says
    raise pickle.UnpicklingError(
        f'the checkpoint asks for the attribute {name!r} of {owner!r}, which no checkpoint of '
        'mmengine holds'
    )


def _native(dtype: Any, data: Any, count: int) -> np.ndarray[Any, Any]:
    """``count`` values out of bytes, in the byte order of this machine."""
    if not isinstance(dtype, FileDtype) or not isinstance(data, bytes):
        raise pickle.UnpicklingError('the checkpoint has an array of neither numbers nor text')
    kind = dtype.dtype
    if len(data) != kind.itemsize * count:
        raise pickle.UnpicklingError(
            f'the checkpoint has an array of {count} values of {kind} in {len(data)} bytes'
        )
    values = np.frombuffer(data, kind)
    try:
        values.tolist() if kind.kind == 'U' else None  # text that is not Unicode
    except (ValueError, SystemError) as error:
        raise pickle.UnpicklingError('the checkpoint has text that is not Unicode') from error
    return values.astype(kind.newbyteorder('='))
