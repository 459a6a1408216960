"""A torchvision whose compiled part does not fit torch."""

import functools
import importlib.machinery
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch


def tolerate_torchvision_without_ops() -> None:
    """Let ``import torchvision`` succeed where its compiled part does not fit torch.

    Cause: the compiled part of PyPI's torchvision links CUDA's torch. Beside a CPU torch it does
    not load, and ``torchvision/_meta_registrations.py`` then stops the import with ``operator
    torchvision::nms does not exist``. mmpretrain and mmpose import torchvision, and so does every
    mmengine Runner, for the version number in its log (``mmengine/utils/dl_utils/collect_env.py``).

    Nothing happens until somebody imports torchvision, and nothing unless that import fails in just
    this way: then the missing operators are declared and the import runs again. Whoever calls one
    of them still gets torchvision's own error.
    """
    if not any(isinstance(finder, _TorchvisionFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TorchvisionFinder())


class _TorchvisionFinder:
    """Finds torchvision where Python does, and watches over its import."""

    def find_spec(
        self, name: str, path: Any = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != 'torchvision':
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = functools.partial(_execute_torchvision, spec.loader.exec_module)
            spec.loader.exec_module = execute  # type: ignore[method-assign]
        return spec


_torchvision_operators: list[torch.library.Library] = []  # a library's operators die with it


def _execute_torchvision(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    try:
        execute(module)
    except RuntimeError as error:
        if not re.fullmatch(r'operator torchvision::q?nms does not exist', str(error)):
            raise
        library = torch.library.Library('torchvision', 'FRAGMENT')
        for name in ('nms', 'qnms'):
            if not hasattr(torch.ops.torchvision, name):
                library.define(f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
        _torchvision_operators.append(library)
        execute(module)  # the submodules that were complete are kept
