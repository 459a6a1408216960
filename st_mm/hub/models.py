"""The models of st_mm by name: the config of each, and its weights where they ship with it.

A name is that of a metafile, which is that of the config: the tools of st_mm take it for a config
or a checkpoint, and the inferencers of mmseg, mmpose and mmpretrain for a model, once ``st_mm`` is
imported. For weights mmengine reads ``st_mm://NAME.pth``, wherever it takes a path or a URL.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from mmengine.fileio import load

SCHEME = 'st_mm://'


@dataclass(frozen=True)
class Model:
    """A model that a metafile lists.

    Attributes:
        name (str): Its name.
        config (Path): The config.
        weights (Path, optional): The checkpoint that ships with the package, if one does.
    """

    name: str
    config: Path
    weights: Path | None


def root() -> Path:
    """Return the folder of configs, tools, weights and the index: the checkout's or the wheel's."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package.parent, package / '.mim'):
        if (folder / 'model-index.yml').is_file():
            return folder
    raise FileNotFoundError(f'st_mm has no model-index.yml, neither in nor beside {package}')


@cache
def models() -> Mapping[str, Model]:
    """Return all models of the index by name."""
    top, found = root(), {}
    for metafile in load(str(top / 'model-index.yml'))['Import']:
        for entry in load(str(top / metafile)).get('Models', []):
            file = entry.get('Weights', '').removeprefix(SCHEME)
            weights = top / 'weights' / file if file else None
            found[entry['Name']] = Model(entry['Name'], top / entry['Config'], weights)
    return MappingProxyType(found)


def find(name: str) -> Model:
    """Look up a model.

    Args:
        name (str): As in the metafile, with or without ``.py``.

    Raises:
        ValueError: If there is no such model; the message has the names that are most like it.
    """
    name = name.removesuffix('.py')
    if name not in models():
        similar = [other for other in models() if name in other]
        similar += difflib.get_close_matches(name, models(), 3) or list(models())
        raise ValueError(f'st_mm has no model {name!r}; it has {", ".join(similar[:3])}, ...')
    return models()[name]


def weights_path(name: str) -> Path:
    """Return the checkpoint of a model that ships with the package.

    Args:
        name (str): The name, also as ``st_mm://NAME.pth``.

    Raises:
        ValueError: If there is no such model, or st_mm has no weights of it.
    """
    model = find(name.removeprefix(SCHEME).removesuffix('.pth'))
    if model.weights is None:
        having = [other.name for other in models().values() if other.weights]
        others = f': only of {", ".join(having)}' if having else ''
        raise ValueError(f'no weights of {model.name} ship with st_mm{others}')
    return model.weights


def config_or_path(text: str) -> str:
    """Return the config of a model where a text is a name and no file; else the text itself."""
    if Path(text).exists() or text.removesuffix('.py') not in models():
        return text
    return str(find(text).config)


def weights_or_path(text: str) -> str:
    """Return the checkpoint of a model where a text is a name and no file; else the text itself.

    Raises:
        ValueError: If a model is named of which no weights ship.
    """
    if text.startswith(SCHEME) or (not Path(text).exists() and text in models()):
        return str(weights_path(text))
    return text
