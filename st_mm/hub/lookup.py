"""The inferencers of mmseg, mmpose and mmpretrain take the models of st_mm by name."""

import functools
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from mmengine.config import Config
from mmengine.infer import BaseInferencer

from .models import SCHEME, find, models, root

MARK = '_knows_st_mm'
HUB = 'mmpretrain.apis.model'


def let_inferencers_find_models() -> None:
    """Let the inferencers look for a name among ours too; a second call changes nothing.

    Cause: those of mmengine look into the index of the package that is their scope alone
    (``BaseInferencer._load_model_from_metafile``). mmpretrain has a ``ModelHub`` of its own,
    which is told when mmpretrain is imported, since st_mm does not import it.
    """
    teach_mmengine()
    if HUB in sys.modules:
        teach_hub(sys.modules[HUB].ModelHub)
    elif not any(isinstance(finder, _HubFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _HubFinder())


def teach_mmengine() -> None:
    """Let ``BaseInferencer`` find our models."""
    load = BaseInferencer._load_model_from_metafile
    if hasattr(load, MARK):
        return

    @functools.wraps(load)
    def ours_first(self: Any, model: str) -> tuple[Config, str | None]:
        if model not in models():
            found: tuple[Config, str | None] = load(self, model)
            return found
        entry = find(model)
        weights = f'{SCHEME}{entry.weights.name}' if entry.weights else None
        return Config.fromfile(entry.config), weights

    setattr(ours_first, MARK, True)
    BaseInferencer._load_model_from_metafile = ours_first


def teach_hub(hub: Any) -> None:
    """Let mmpretrain's ``ModelHub`` find our models; the index is read at the first question."""
    get = hub.get.__func__
    if hasattr(get, MARK):
        return

    @functools.wraps(get)
    def ours_too(cls: Any, model_name: str) -> Any:
        if model_name in models() and not cls.has(model_name.lower()):
            cls.register_model_index(root() / 'model-index.yml', config_prefix=root())
        return get(cls, model_name)

    setattr(ours_too, MARK, True)
    hub.get = classmethod(ours_too)


class _HubFinder:
    """Waits for mmpretrain's ``ModelHub``, and teaches it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != HUB:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_and_teach(module: ModuleType) -> None:
            execute(module)
            teach_hub(module.ModelHub)

        spec.loader.exec_module = exec_and_teach  # type: ignore[method-assign]
        return spec
