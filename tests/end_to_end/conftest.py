"""Two trainings that end alike, and tickets that others start from."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from st_mm.hooks.run_state import LATENT, THRESHOLDS
from st_mm.ticket import KEY, load_checkpoint

sys.path.insert(0, str(Path(__file__).parent))  # what tests share stands beside them

from transfer_source import SOURCES, draw


def _assert_same(ours: object, theirs: object, where: str) -> None:
    """Compare nested containers of tensors and plain values, bit for bit."""
    if isinstance(theirs, torch.Tensor):
        assert ours.dtype == theirs.dtype, where
        assert ours.shape == theirs.shape, where
        # the bytes, since for equality -0.0 is 0.0
        assert ours.cpu().numpy().tobytes() == theirs.cpu().numpy().tobytes(), where
    elif isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        for key, value in theirs.items():
            _assert_same(ours[key], value, f'{where}[{key!r}]')
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs), where
        for index, value in enumerate(theirs):
            _assert_same(ours[index], value, f'{where}[{index}]')
    else:
        assert ours == theirs, where


@pytest.fixture(scope='session')
def assert_same_end() -> Callable[[Path, Path], None]:
    """Compares two checkpoint files: all that a training takes on from them, and the ticket."""

    def compare(ours: Path, theirs: Path) -> None:
        ended, expected = load_checkpoint(ours), load_checkpoint(theirs)
        for entry in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers', LATENT):
            _assert_same(ended[entry], expected[entry], entry)
        _assert_same(ended.get(THRESHOLDS), expected.get(THRESHOLDS), THRESHOLDS)
        for entry in ('epoch', 'iter', KEY):
            _assert_same(ended['meta'][entry], expected['meta'][entry], entry)

    return compare


@pytest.fixture(scope='session')
def tickets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Searched and pruned classifiers, with what their trainings began with."""
    return {name: draw(name, tmp_path_factory.mktemp(name) / 'run') for name in SOURCES}
