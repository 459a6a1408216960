"""The plan: rows of a matrix as trainings, and what these load from."""

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger

from st_mm.work_dir import INITIAL

ROOT = Path(__file__).resolve().parents[2]
RATIO = 'ST_MM_RATIO'  # read by configs/ablations/_base_/ratio.py


@dataclass(frozen=True)
class Training:
    """A config that is trained once, at one ratio.

    Attributes:
        config (Path): The config.
        folder (Path): Its work dir.
        ratio (float, optional): Pruning ratio; None where the config has none.
        epochs (int): Length of the training; 0 for a prune of what is loaded, and no more.
        parent (Training, optional): The training whose ticket is loaded.
        settings (str): The config with all options, as JSON.
    """

    config: Path
    folder: Path
    ratio: float | None
    epochs: int
    parent: 'Training | None'
    settings: str

    @property
    def name(self) -> str:
        """What it is called in the progress."""
        return self.config.stem if self.ratio is None else f'{self.config.stem} p={self.ratio:g}'

    @property
    def ticket(self) -> Path:
        """The checkpoint that it ends with."""
        return self.folder / (f'epoch_{self.epochs}.pth' if self.epochs else INITIAL)

    def newest(self) -> Path | None:
        """The last checkpoint so far that training can go on from."""
        found = self.folder.glob('epoch_*.pth')
        return max(found, key=lambda path: int(path.stem.removeprefix('epoch_')), default=None)


@dataclass(frozen=True)
class Row:
    """A row of the table: a training whose ticket is tested."""

    label: str
    training: Training


class Plan:
    """The trainings of a matrix, those that rows load from included.

    Attributes:
        rows (list[Row]): Rows in their order, ratio by ratio.
        trainings (list[Training]): Every training once; those that others load from come first,
            and among the others the longest chains.
    """

    def __init__(
        self,
        matrix: Config,
        folder: Path,
        work_dir: Path,
        ratios: Sequence[float],
        options: Mapping[str, Any],
    ) -> None:
        self._work_dir = work_dir
        self._options = options
        self._found: dict[Path, Training] = {}
        self.rows = [
            Row(row.label, self._training(folder / row.config, ratio))
            for ratio in ratios
            for row in matrix.rows
        ]
        self.rows = list({row.training.folder: row for row in self.rows}.values())
        self.trainings = sorted(self._found.values(), key=self._span, reverse=True)

    def _training(self, path: Path, ratio: float) -> Training:
        config = read(path, ratio)
        config.merge_from_dict(self._options)
        pruned = 'ratio' in config
        folder = self._work_dir / (f'p{100 * ratio:g}' if pruned else '') / path.stem
        if folder not in self._found:
            source = config.pop('load_from', None)
            parent = path.with_name(f'{Path(source).parent.name}.py') if source else None
            self._found[folder] = Training(
                config=path,
                folder=folder,
                ratio=ratio if pruned else None,
                epochs=config.train_cfg.max_epochs,
                parent=self._training(parent, ratio) if parent else None,
                settings=json.dumps(config.to_dict(), indent=1, sort_keys=True, default=str),
            )
        return self._found[folder]

    def children(self, training: Training) -> Iterator[Training]:
        """The trainings that load a training's ticket."""
        return (each for each in self._found.values() if each.parent is training)

    def _span(self, training: Training) -> int:
        """Epochs until the last training that waits for this one has ended."""
        return training.epochs + max(map(self._span, self.children(training)), default=0)


def read(path: Path, ratio: float | None = None) -> Config:
    """Read a config, at a ratio where it has one."""
    if ratio is not None:
        os.environ[RATIO] = f'{ratio:g}'
    MMLogger.get_current_instance().setLevel('WARNING')  # it tells of every variable it reads
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return Config.fromfile(path, import_custom_modules=False)
