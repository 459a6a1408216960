"""What a training takes: commands one after the other, none that has been done."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from st_mm.files import write_atomically

from .plan import RATIO, Training

RESULT = 'result.json'


@dataclass(frozen=True)
class Step:
    """A command: what it does, its words, and where its output goes."""

    name: str
    command: list[str]
    log: Path


class Worker:
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
        self.training = training
        self.tested = tested
        self.input_shape = 'x'.join(map(str, input_shape))
        self.options = list(options)

    @property
    def environment(self) -> dict[str, str]:
        """The ratio, where the training has one."""
        ratio = self.training.ratio
        return {} if ratio is None else {RATIO: f'{ratio:g}'}

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
        write_atomically(self.training.folder / 'settings.json', self.training.settings.encode())

    def steps(self) -> Iterator[Step]:
        """Commands that are left to do; each is to be run before the next is asked for."""
        training, folder = self.training, self.training.folder
        if not training.ticket.is_file():
            yield self._step('train', *self._start(), '--work-dir', folder, options=self._load())
        if not self.tested or (folder / RESULT).is_file():
            return
        words = (training.config, training.ticket, '--work-dir', folder / 'test')
        yield self._step('test', *words, options=self.options)
        show = ('show', training.ticket, '--input-shape', self.input_shape)
        yield self._step('ticket', *show, '--json', folder / 'ticket.json')
        write_atomically(folder / RESULT, (json.dumps(self._measured(), indent=2) + '\n').encode())

    def result(self) -> dict[str, Any]:
        """What was measured: ``metrics`` on the test split, and ``totals`` of the ticket."""
        return json.loads((self.training.folder / RESULT).read_text())

    def _start(self) -> list[str | Path]:
        """The config, and the checkpoint to go on from if there is one."""
        newest = self.training.newest()
        return [self.training.config, *(['--resume', newest] if newest else [])]

    def _load(self) -> list[str]:
        """Options of the training: those of the user, and the ticket to load."""
        parent = self.training.parent
        if parent is None or self.training.newest():
            return self.options
        return [*self.options, f'load_from={parent.ticket}']

    def _step(self, name: str, *words: str | Path, options: Sequence[str] = ()) -> Step:
        command = [sys.executable, f'tools/{name}.py', *map(str, words)]
        changes = ['--cfg-options', *options] if options else []
        return Step(name, [*command, *changes], self.training.folder / f'{name}.txt')

    def _measured(self) -> dict[str, Any]:
        folder = self.training.folder
        newest = max((folder / 'test').glob('*/*.json'), key=lambda path: path.stat().st_mtime)
        return dict(
            config=str(self.training.config),
            checkpoint=str(self.training.ticket),
            metrics=json.loads(newest.read_text()),
            totals=json.loads((folder / 'ticket.json').read_text())['totals'],
        )
