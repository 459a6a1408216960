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

from .training import RATIO, SEED, Training

WEIGHTS = 'model.init_cfg.weights'  # of another time than the ticket's


@dataclass(frozen=True)
class Row:
    """A row of the table: a training whose ticket is tested."""

    label: str
    training: Training


class Plan:
    """The trainings of a matrix, those that rows load from included.

    Args:
        matrix (Config): Has ``rows`` (dicts of ``label`` and ``config``).
        folder (Path): Where the configs of the rows are.
        work_dir (Path): For all trainings. A training goes to ``p90/NAME`` at a ratio of 0.9, and
            with another seed than its config's own to ``seed1/p90/NAME``.
        ratios (Sequence[float]): Pruning ratios.
        options (Mapping[str, Any]): Changes of every config.
        seeds (Sequence[int], optional): Every row once for each. None for the seeds that the
            configs have.

    Attributes:
        rows (list[Row]): Rows in their order, ratio by ratio, seed by seed.
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
        seeds: Sequence[int] | None = None,
    ) -> None:
        self._work_dir = work_dir
        self._options = options
        self._found: dict[Path, Training] = {}
        self._read: dict[tuple[Path, float, int | None], Training] = {}
        self.rows = [
            Row(row.label, self._training(folder / row.config, ratio, seed))
            for ratio in ratios
            for row in matrix.rows
            for seed in seeds or (None,)
        ]
        self.rows = list({row.training.folder: row for row in self.rows}.values())
        self.trainings = sorted(self._found.values(), key=self._span, reverse=True)

    def _training(self, path: Path, ratio: float, seed: int | None) -> Training:
        key = path, ratio, seed
        if key not in self._read:  # to read a config takes up to a second
            self._read[key] = self._plan(*key)
        return self._read[key]

    def _plan(self, path: Path, ratio: float, seed: int | None) -> Training:
        config = read(path, ratio, seed)
        config.merge_from_dict(self._options)
        own = config.get('randomness', {}).get('seed')
        if seed is not None:
            config.merge_from_dict({'randomness.seed': seed})
        extra = '' if seed in (None, own) else f'seed{seed}'
        pruned = 'ratio' in config
        folder = self._work_dir / extra / (f'p{100 * ratio:g}' if pruned else '') / path.stem
        if folder not in self._found:
            files = _take_files(config)
            sources = {file.parent.name for file in files.values()}
            if len(sources) > 1:
                names = ', '.join(sorted(sources))
                raise ValueError(f'{path} loads from several trainings ({names}): one at most')
            source = path.with_name(f'{sources.pop()}.py') if sources else None
            parent = self._training(source, ratio, seed) if source else None
            loads = {
                # an option may have changed how many epochs the ticket takes
                option: parent.ticket.name if parent and option != WEIGHTS else file.name
                for option, file in files.items()
            }
            settings = {**config.to_dict(), 'loads': loads}
            epochs = config.train_cfg.max_epochs
            self._found[folder] = Training(
                config=path,
                folder=folder,
                ticket=folder / (f'epoch_{epochs}.pth' if epochs else INITIAL),
                ratio=ratio if pruned else None,
                seed=own if seed is None else seed,
                extra=extra,
                epochs=epochs,
                parent=parent,
                loads=loads,
                settings=json.dumps(settings, indent=1, sort_keys=True, default=str),
            )
        return self._found[folder]

    def children(self, training: Training) -> Iterator[Training]:
        """The trainings that load a training's ticket."""
        return (each for each in self._found.values() if each.parent is training)

    def _span(self, training: Training) -> int:
        """Epochs until the last training that waits for this one has ended."""
        return training.epochs + max(map(self._span, self.children(training)), default=0)


def _take_files(config: Config) -> dict[str, Path]:
    """Take the checkpoints of other trainings out of a config; returns them by its options."""
    files = {'load_from': config.pop('load_from', None)}
    init = config.model.get('init_cfg', {})
    for name in ('checkpoint', 'weights'):
        if init.get(name) not in (None, 'random', 'trained'):
            files[f'model.init_cfg.{name}'] = init.pop(name)
    for number, hook in enumerate(config.get('custom_hooks', ())):
        if hook.type == 'DistillHook' and 'checkpoint' in hook:
            files[f'custom_hooks.{number}.checkpoint'] = hook.pop('checkpoint')
    return {option: Path(file) for option, file in files.items() if file}


def read(path: Path, ratio: float | None = None, seed: int | None = None) -> Config:
    """Read a config, at a ratio and a seed where it has them."""
    for name, value in ((RATIO, ratio), (SEED, seed)):
        if value is not None:
            os.environ[name] = str(value)
    MMLogger.get_current_instance().setLevel('WARNING')  # it tells of every variable it reads
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return Config.fromfile(path, import_custom_modules=False)
