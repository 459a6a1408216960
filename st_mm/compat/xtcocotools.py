"""A Python for which xtcocotools has no wheel."""

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

STAND_INS = {  # a module of xtcocotools: where the same names are
    'xtcocotools': '',
    'xtcocotools.coco': f'{__package__}.keypoint_evaluation',
    'xtcocotools.cocoeval': f'{__package__}.keypoint_evaluation',
    'xtcocotools.mask': 'pycocotools.mask',
}


def stand_in_for_xtcocotools() -> None:
    """Let ``import xtcocotools`` succeed where it is not installed.

    Cause: mmpose imports its ``COCO``, ``COCOeval`` and ``mask``
    (``mmpose/evaluation/metrics/coco_metric.py``, ``mmpose/datasets/datasets/base``). xtcocotools
    has no wheel from Python 3.12 on, and its sdist needs a compiler, numpy and Cython beforehand;
    its wheels do not load beside numpy 2. pycocotools has wheels for all of them.

    Nothing happens until somebody imports xtcocotools, and nothing where it is there: this is the
    last place where Python looks.
    """
    if not any(isinstance(finder, _XtcocotoolsFinder) for finder in sys.meta_path):
        sys.meta_path.append(_XtcocotoolsFinder())


class _XtcocotoolsFinder:
    """Finds the modules of xtcocotools that Python did not, and loads them."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in STAND_INS:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=not STAND_INS[name])  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        if importlib.util.find_spec('pycocotools') is None:
            raise ModuleNotFoundError(
                'mmpose needs xtcocotools, which is not installed, and neither is pycocotools, '
                'which st_mm puts in its place: pip install pycocotools',
                name=module.__name__,
            )
        if source := STAND_INS[module.__name__]:
            names = vars(importlib.import_module(source))
            vars(module).update({k: v for k, v in names.items() if not k.startswith('__')})
