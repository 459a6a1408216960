"""Fixes at run time, for mm packages older than the torch beside them.

Each is a function of its own that does nothing where it is not needed. ``st_mm`` applies them
when it is imported, which a config's ``custom_imports`` does early enough for mim and mm's tools.
"""

import functools
import importlib.machinery
import importlib.util
import pickle
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.dist import utils as mmengine_dist
from mmengine.hooks import EMAHook
from mmengine.logging import HistoryBuffer
from mmengine.model import MMDistributedDataParallel
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

from .private import refresh_average

PATCHED = '_patched_by_st_mm'  # attribute of a function that stands in for one of mmengine's


def apply() -> None:
    """Apply every fix this environment needs; a second call changes nothing."""
    allow_checkpoint_globals()
    tolerate_torchvision_without_ops()
    stub_mmcv_ops()
    tolerate_gloo_without_cuda()
    wrap_cpu_models_without_devices()
    name_empty_datasets()
    let_averages_follow_loads()


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


def stub_mmcv_ops() -> None:
    """Let ``import mmcv.ops`` succeed with mmcv-lite.

    Cause: mmcv-lite has no compiled ``mmcv._ext``, but mmseg and mmdet import ``mmcv.ops``, which
    loads it (``mmcv/utils/ext_loader.py``), without a guard: ``import mmseg.models`` fails. The
    stub has every operator, and each raises when it is called.
    """
    mmcv = importlib.util.find_spec('mmcv')
    if mmcv is None or 'mmcv._ext' in sys.modules:
        return
    locations = mmcv.submodule_search_locations
    if importlib.machinery.PathFinder.find_spec('mmcv._ext', locations) is None:
        sys.modules['mmcv._ext'] = _OpsStub()


class _OpsStub(ModuleType):
    """Stands in for ``mmcv._ext``."""

    def __init__(self) -> None:
        super().__init__('mmcv._ext', 'Stub of the compiled operators that mmcv-lite lacks.')
        # No loader, so that `mmcv.utils.ext_loader.check_ops_exist()` still says no.
        self.__spec__ = importlib.machinery.ModuleSpec(self.__name__, loader=None)

    @staticmethod
    def get_compiler_version() -> str:
        """Answer ``mmcv.utils.collect_env`` as it answers itself where there are no operators."""
        return 'n/a'

    get_compiling_cuda_version = get_compiler_version

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith('__'):  # what introspection asks for is really absent
            raise AttributeError(name)

        def operator(*args: Any, **kwargs: Any) -> NoReturn:
            raise NotImplementedError(
                f'mmcv-lite has no compiled operators, and {name!r} of mmcv.ops is one. For it, '
                f'replace mmcv-lite by the full mmcv: pip uninstall mmcv-lite, then '
                f'pip install --no-build-isolation "mmcv==2.1.0" (it may compile for a while).'
            )

        return operator


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


def name_empty_datasets() -> None:
    """Let a dataset without samples say so.

    Cause: ``mmengine/dataset/base_dataset.py`` serializes the list of samples with numpy, which
    fails on an empty one with "need at least one array to concatenate", whatever the dataset.
    """
    serialize = BaseDataset._serialize_data
    if hasattr(serialize, PATCHED):
        return

    @functools.wraps(serialize)
    def named(self: BaseDataset) -> Any:
        if not self.data_list:
            raise ValueError(
                f'{type(self).__name__} found no samples: check data_root ({self.data_root!r}), '
                f'data_prefix ({self.data_prefix}) and ann_file ({self.ann_file!r})'
            )
        return serialize(self)

    setattr(named, PATCHED, True)
    BaseDataset._serialize_data = named


def let_averages_follow_loads() -> None:
    """Let ``EMAHook`` start from the weights that training starts from, whatever their shapes.

    Cause: with ``update_buffers`` an averaged model holds a ``state_dict`` made once
    (``mmengine/model/averaged_model.py``), whose tensors are not those of the module any more when
    a load has changed its shapes; and ``EMAHook.before_run`` copies the model before its weights
    are initialized. mmengine's averages copy it again at their first update; ours do not. A
    training with hooks of st_mm sees to both; one without them, such as plain fine-tuning of a
    ticket, would stop at its first iteration, or average weights that were never trained.
    """
    load = EMAHook.after_load_checkpoint
    if hasattr(load, PATCHED):
        return

    @functools.wraps(load)
    def followed(self: EMAHook, runner: Any, checkpoint: dict[str, Any]) -> None:
        load(self, runner, checkpoint)
        refresh_average(self.ema_model)

    start = EMAHook.before_train

    @functools.wraps(start)
    def started(self: EMAHook, runner: Any) -> None:
        ours, theirs = self.src_model.state_dict(), self.ema_model.module.state_dict()
        if not self.ema_model.steps:
            if any(ours[name].shape != tensor.shape for name, tensor in theirs.items()):
                self.before_run(runner)  # copies the model anew
            else:
                self.ema_model.module.load_state_dict(ours)
        start(self, runner)

    setattr(followed, PATCHED, True)
    EMAHook.after_load_checkpoint = followed
    EMAHook.before_train = started
