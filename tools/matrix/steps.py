"""What a training takes: commands one after the other, none that has been done."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .record import note
from .training import RATIO, SEED, Training


@dataclass(frozen=True)
class Step:
    """A command: what it does, its words, and where its output goes."""

    name: str
    command: list[str]
    log: Path


class Job:
    """Takes a training from nothing, or from where it was stopped, to its result.

    Args:
        training (Training): The training.
        tested (bool): Whether its ticket is a row of the table.
        input_shape (Sequence[int]): (channels, height, width) at which MACs are counted.
        options (Sequence[str]): Changes of the config, as ``--cfg-options`` takes them.
    """

    def __init__(
        self,
        training: Training,
        tested: bool,
        input_shape: Sequence[int],
        options: Sequence[str],
    ) -> None:
        seed = [] if training.seed is None else [f'randomness.seed={training.seed}']
        self.training = training
        self.tested = tested
        self.input_shape = 'x'.join(map(str, input_shape))
        self.options = [*options, *seed]

    @property
    def environment(self) -> dict[str, str]:
        """The ratio and the seed, where the training has them."""
        values = {RATIO: self.training.ratio, SEED: self.training.seed}
        return {name: str(value) for name, value in values.items() if value is not None}

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return not next(self.steps(), None)

    def check(self) -> None:
        """Refuse a folder that was begun with other settings.

        Raises:
            ValueError: Naming what is different.
        """
        path = self.training.folder / 'settings.json'
        if path.is_file():
            old, new = json.loads(path.read_text()), json.loads(self.training.settings)
            names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
            if names:
                raise ValueError(
                    f'{self.training.folder} was begun with other settings ({", ".join(names)}): '
                    'remove it, or choose another --work-dir'
                )

    def begin(self) -> None:
        """Note the settings."""
        note(self.training.folder / 'settings.json', self.training.settings)

    def steps(self) -> Iterator[Step]:
        """Commands that are left to do; each is to be run before the next is asked for."""
        training, folder = self.training, self.training.folder
        if not training.ticket.is_file():
            yield self._step('train', *self._start(), '--work-dir', folder, options=self._load())
        if self.tested and not self._metrics():
            words = (training.config, training.ticket, '--work-dir', folder / 'test')
            yield self._step('test', *words, options=self.options)
        if self.tested and not self._report.is_file():
            show = ('show', training.ticket, '--input-shape', self.input_shape)
            yield self._step('ticket', *show, '--json', self._report)

    def result(self) -> dict[str, Any]:
        """Read what was measured: ``metrics`` on the test split, and ``totals`` of the ticket."""
        return dict(
            metrics=json.loads(self._metrics()[-1].read_text()),
            totals=json.loads(self._report.read_text())['totals'],
        )

    def _metrics(self) -> list[Path]:
        """What the test has written, the newest last."""
        return sorted((self.training.folder / 'test').glob('*/*.json'))

    @property
    def _report(self) -> Path:
        return self.training.folder / 'ticket.json'

    def _start(self) -> list[str | Path]:
        """The config, and the checkpoint to go on from if there is one."""
        newest = self.training.newest()
        return [self.training.config, *(['--resume', newest] if newest else [])]

    def _load(self) -> list[str]:
        """Options of the training: those of the user, and the checkpoints to load."""
        parent, loads = self.training.parent, dict(self.training.loads)
        if self.training.newest():
            loads.pop('load_from', None)  # init_cfg is asked for its files by a resumed one, too
        files = [f'{option}={parent.folder / name}' for option, name in loads.items() if parent]
        return [*self.options, *files]

    def _step(self, name: str, *words: str | Path, options: Sequence[str] = ()) -> Step:
        command = [sys.executable, f'tools/{name}.py', *map(str, words)]
        changes = ['--cfg-options', *options] if options else []
        return Step(name, [*command, *changes], self.training.folder / f'{name}.txt')
