"""Names of checkpoints."""

from pathlib import Path

import pytest

from st_mm.analysis.checkpoints import open_checkpoint
from st_mm.analysis.predictions.labels import distinct, label_of
from st_mm.hub import weights_path


def test_config_and_share() -> None:
    path = weights_path('supertickets-p90-slim_16b-18e_toy-people-96x64')
    assert label_of(open_checkpoint(path)) == 'supertickets-p90-slim\n90 % pruned'


def test_files_of_one_run() -> None:
    paths = [Path('run/epoch_1.pth'), Path('run/epoch_2.pth'), Path('other/epoch_2.pth')]
    assert distinct(['a', 'a', 'b'], paths) == ['a\nepoch_1', 'a\nepoch_2', 'b']
    with pytest.raises(ValueError, match='--labels'):
        distinct(['a', 'a', 'a'], paths)
