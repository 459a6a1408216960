"""Building the reference networks and counting them by our own counter."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.fileio import load

from st_mm.config_path import config_path
from st_mm.measure import count_macs, count_params
from st_mm.models.building import build_model

from ..report import Cost
from .networks import NOTHING, Figures, Reference, Task


@dataclass(frozen=True)
class Counted:
    """A row with our figures.

    Attributes:
        reference (Reference): The row.
        cost (Cost, optional): Parameters and MACs as our counter counts them; None if the network
            was not built.
        library (Figures): What the metafile of its library says; empty for a changed config.
        missing (str): Why the network was not built; empty if it was, or if nothing can build it.
    """

    reference: Reference
    cost: Cost | None
    library: Figures = NOTHING
    missing: str = ''

    @property
    def score(self) -> float | None:
        """Return the first published score: the paper's, the authors', or the library's."""
        said = (*self.reference.published, self.library)
        return next((figures.score for figures in said if figures.score is not None), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the row in plain types."""
        return dict(
            asdict(self.reference),
            params=self.cost.params if self.cost else None,
            macs=self.cost.macs if self.cost else None,
            library=asdict(self.library),
            missing=self.missing,
        )


def compare_models(task: Task) -> list[Counted]:
    """Build the networks of a task and count them, at its size and without auxiliary heads.

    Nothing is initialized, so nothing is downloaded.

    Args:
        task (Task): What to compare.

    Returns:
        list[Counted]: Its rows, in order.

    Raises:
        FileNotFoundError: If a library has no such config.
        ValueError: If a network cannot take the task's input.
    """
    return [_count(reference, task) for reference in task.rows]


def _count(reference: Reference, task: Task) -> Counted:
    if reference.config is None:
        return Counted(reference, None)
    try:
        file = find_config(reference.config)
        library = NOTHING if reference.options else _read_index(file, task)
        config = Config.fromfile(file)
        config.merge_from_dict(dict(reference.options))
        config.model.pop('auxiliary_head', None)  # only training has it
        model = build_model(config)
        cost = Cost(count_params(model)[0], count_macs(model, task.input_shape).dense)
    except (ImportError, NotImplementedError, ValueError) as error:
        missing = _what_is_missing(error)
        if missing is None:
            raise
        return Counted(reference, None, missing=missing)
    return Counted(reference, cost, library)


def _what_is_missing(error: BaseException | None) -> str | None:
    """Say what the machine lacks (a library, an operator), if the error is about that."""
    while error is not None:
        if isinstance(error, (ImportError, NotImplementedError)):
            return str(error)
        error = error.__cause__
    return None


def find_config(name: str) -> Path:
    """Find the file of ``package::path``.

    Args:
        name (str): As ``Reference.config``.

    Returns:
        Path: The file, in the installed package or in the checkout of st_mm.

    Raises:
        ImportError: If the package is not installed.
        FileNotFoundError: If it has no such config.
    """
    package, _, path = name.partition('::')
    if package == 'st_mm':
        return Path(config_path(path))
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f'{package} is not installed: mim install {package}')
    file = Path(spec.origin).parent / '.mim' / 'configs' / path
    if not file.is_file():
        raise FileNotFoundError(f'{package} has no config {path}; look into {file.parent}')
    return file


def _read_index(config: Path, task: Task) -> Figures:
    """Read what the metafile next to a config says of the first model that it trains."""
    for file in sorted(config.parent.glob('*.y*ml')):
        if config.name not in file.read_text(encoding='utf-8'):
            continue
        for model in _models(file):
            if Path(model['Config']).name == config.name and 'Weights' in model:
                return _index_figures(model, task)
    return NOTHING


@cache
def _models(metafile: Path) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = load(metafile).get('Models', [])
    return models


def _index_figures(model: Mapping[str, Any], task: Task) -> Figures:
    meta = model.get('Metadata') or {}
    results = model['Results']
    [result, *_] = results if isinstance(results, list) else [results]
    score = result['Metrics'][task.index_metric] * task.index_scale
    return Figures(meta.get('Parameters'), meta.get('FLOPs'), round(score, 2))
