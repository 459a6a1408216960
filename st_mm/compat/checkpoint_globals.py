"""What ``torch.load`` may read: a trust boundary."""

import pickle
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler


def allow_checkpoint_globals() -> None:
    """Let ``torch.load`` read the checkpoints that mmengine writes.

    Cause: since torch 2.6 ``torch.load`` refuses every class it does not know
    (``weights_only=True``), and ``mmengine/runner/checkpoint.py`` does not say otherwise: resume,
    ``load_from``, test and inference fail. A checkpoint of mmengine holds, besides tensors and
    plain values, ``HistoryBuffer`` in its message hub, numpy scalars (metrics) and arrays (history,
    mmpose's dataset meta), and ``OneCycleParamScheduler``'s annealing function.

    The list is a trust boundary, so it is no longer than that. Methods are pickled as
    ``getattr(cls, name)``; ``getattr`` itself would let a file reach anything, so its name is bound
    to :func:`_getattr_of_known_methods`.
    """
    if torch.__version__ >= '2.6':  # a TorchVersion: 2.13 is more than 2.6
        torch.serialization.add_safe_globals(_checkpoint_globals())


def _checkpoint_globals() -> list[Any]:
    allowed: list[Any] = [HistoryBuffer, OneCycleParamScheduler, np.ndarray, np.dtype]
    # float64 and int64 in the history, int32 for int64 on Windows, the rest in mmpose's meta.
    allowed += [type(np.dtype(code)) for code in ('f8', 'i8', 'i4', 'f4', 'u1')]
    # numpy 2 renamed the package, and files outlive the numpy they were written with.
    functions: list[Any] = [np.float64(0).__reduce__()[0], np.empty(0).__reduce__()[0]]
    for package in ('numpy.core', 'numpy._core'):
        for function in functions:
            allowed.append((function, f'{package}.multiarray.{function.__name__}'))
    return [*allowed, (_getattr_of_known_methods, 'builtins.getattr')]


_PICKLED_METHODS = {
    HistoryBuffer: ('min', 'max', 'current', 'mean'),
    OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear'),
}


def _getattr_of_known_methods(owner: Any, name: str) -> Any:
    """Stand in for ``getattr`` while unpickling: only the methods a checkpoint really holds."""
    if any(owner is cls and name in methods for cls, methods in _PICKLED_METHODS.items()):
        return getattr(owner, name)
    raise pickle.UnpicklingError(
        f'the checkpoint asks for attribute {name!r} of {owner!r}, which no checkpoint of mmengine '
        f'holds. If you trust the file, load it with torch.load(..., weights_only=False).'
    )
