"""An mmcv without compiled operators."""

import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn


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
