"""A training as a value. Light to import, as is all that a worker of Ray needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RATIO = 'ST_MM_RATIO'  # read by configs/ablations/_base_/ratio.py
LOCK = '.matrix.lock'  # not that of a training itself, which its own process takes
SEED = 'ST_MM_SEED'  # read by configs that draw at random: configs/ablations/*/sp-random*.py


@dataclass(frozen=True)
class Training:
    """A config that is trained once, at one ratio and from one seed.

    Attributes:
        config (Path): The config.
        folder (Path): Its work dir.
        ticket (Path): The checkpoint that it ends with.
        ratio (float, optional): Pruning ratio; None where the config has none.
        seed (int, optional): Seed of initialization, data order and calibration; None where the
            config has none and none was asked for.
        extra (str): What tells it from the training of the config's own seed; empty for that.
        epochs (int): Length of the training; 0 for a prune of what is loaded, and no more.
        parent (Training, optional): The training whose ticket is loaded.
        settings (str): The config with all options, and what it loads, as JSON.
        loads (Mapping[str, str]): Checkpoints of the parent by the entries of the config that name
            them, such as ``load_from``: its ticket, or one of an earlier time. Defaults to none.
    """

    config: Path
    folder: Path
    ticket: Path
    ratio: float | None
    seed: int | None
    extra: str
    epochs: int
    parent: 'Training | None'
    settings: str
    loads: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """What it is called in the progress."""
        ratio = '' if self.ratio is None else f' p={self.ratio:g}'
        return f'{self.config.stem}{ratio}{self.extra and f" {self.extra}"}'

    def newest(self) -> Path | None:
        """The last checkpoint so far that training can go on from."""
        found = self.folder.glob('epoch_*.pth')
        return max(found, key=lambda path: int(path.stem.removeprefix('epoch_')), default=None)
