"""Several ranks without CUDA."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from mmengine.dist import utils as mmengine_dist
from mmengine.model import MMDistributedDataParallel

from .patched import PATCHED


def tolerate_gloo_without_cuda() -> None:
    """Let ``--launcher pytorch`` (or mpi, slurm) run over gloo where there is no CUDA device.

    Cause: ``mmengine/dist/utils.py`` calls ``torch.cuda.set_device`` whatever the backend is; where
    torch has no CUDA, that raises. The call does nothing while mmengine sets up gloo without a CUDA
    device; with any other backend, or with a device, it is left alone.
    """
    for launcher in ('pytorch', 'mpi', 'slurm'):
        name = f'_init_dist_{launcher}'
        init = getattr(mmengine_dist, name)
        if not isinstance(init, _InitWithoutCuda):
            setattr(mmengine_dist, name, _InitWithoutCuda(init))


class _InitWithoutCuda:
    """One of mmengine's ``_init_dist_*``, with ``torch.cuda.set_device`` held still for gloo."""

    def __init__(self, init: Callable[..., None]) -> None:
        functools.update_wrapper(self, init)
        self._init = init

    def __call__(self, backend: str, *args: Any, **kwargs: Any) -> None:
        if backend != 'gloo' or torch.cuda.is_available():
            return self._init(backend, *args, **kwargs)
        set_device = torch.cuda.set_device
        torch.cuda.set_device = lambda device: None
        try:
            return self._init(backend, *args, **kwargs)
        finally:
            torch.cuda.set_device = set_device


def wrap_cpu_models_without_devices() -> None:
    """Let ``--launcher pytorch`` wrap a model that is on the CPU.

    Cause: ``mmengine/runner/runner.py`` (``wrap_model``) always passes
    ``device_ids=[LOCAL_RANK]``, which torch refuses for a module on the CPU.
    """
    wrap = MMDistributedDataParallel.__init__
    if hasattr(wrap, PATCHED):
        return

    @functools.wraps(wrap)
    def on_cpu_too(self: Any, module: torch.nn.Module, *args: Any, **kwargs: Any) -> None:
        if all(parameter.device.type == 'cpu' for parameter in module.parameters()):
            kwargs.pop('device_ids', None)
        wrap(self, module, *args, **kwargs)

    setattr(on_cpu_too, PATCHED, True)
    MMDistributedDataParallel.__init__ = on_cpu_too
