"""The forks of the libraries: their configs are found, and their checkpoints run nothing."""

import os
import pickle
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config, utils
from mmengine.runner import checkpoint

from st_mm.compat.forks import find_forks, read_checkpoints_as_torch_does


@pytest.fixture
def installed(monkeypatch):
    """Pretend that just these distributions are installed; gives mmengine's table."""
    table = dict(utils.MODULE2PACKAGE, mmseg='mmsegmentation', mmdet='mmdet')
    monkeypatch.setattr(utils, 'MODULE2PACKAGE', table)

    def pretend(*names: str) -> dict[str, str]:
        def version(name: str) -> str:
            if name in names:
                return '1.4.2'
            raise metadata.PackageNotFoundError(name)

        monkeypatch.setattr(metadata, 'version', version)
        return table

    return pretend


@pytest.mark.parametrize(
    ('names', 'found'),
    [
        (['mmsegmentation'], 'mmsegmentation'),
        (['onedl-mmsegmentation'], 'onedl-mmsegmentation'),
        (['mmsegmentation', 'onedl-mmsegmentation'], 'mmsegmentation'),
        ([], 'mmsegmentation'),
    ],
)
def test_a_fork_is_found_where_it_is_alone(names, found, installed):
    table = installed(*names)
    before = dict(table)
    find_forks()
    assert table == before | dict(mmseg=found)


def test_the_fork_of_mmdet_has_another_name(installed):
    table = installed('onedl-mmdetection')
    find_forks()
    assert table['mmdet'] == 'onedl-mmdetection'


@pytest.mark.parametrize('library', ['mmseg', 'mmpose', 'mmpretrain'])
def test_bases_of_the_libraries_are_found(library, tmp_path):
    """The real thing, in whatever environment this runs."""
    config = tmp_path / 'config.py'
    config.write_text(f"_base_ = '{library}::_base_/default_runtime.py'\n")
    assert 'env_cfg' in Config.fromfile(config)


class RunsAsItIsRead:
    """Makes a folder as soon as a file with it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.folder,)


def loads_twice(file: Any, map_location: Any = None, weights_only: Any = None) -> Any:
    """Load as the fork of mmengine does: what is refused is read again without a check."""
    try:
        return torch.load(file, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError:
        return torch.load(file, map_location=map_location, weights_only=False)


@pytest.mark.skipif(torch.__version__ < '2.6', reason='torch < 2.6 loads everything')
@pytest.mark.parametrize('fork', ['pretended', 'installed'])
def test_what_torch_refuses_is_not_read_again(fork, tmp_path, monkeypatch):
    """``installed``: the real thing, in whatever environment this runs."""
    if fork == 'pretended':
        monkeypatch.setattr(checkpoint, '_safe_torch_load', loads_twice, raising=False)
        read_checkpoints_as_torch_does()
    load = getattr(checkpoint, '_safe_torch_load', None) or checkpoint.load_from_local
    path, ran = tmp_path / 'evil.pth', tmp_path / 'ran'
    torch.save(dict(state_dict={}, value=RunsAsItIsRead(ran)), path)
    with pytest.raises(pickle.UnpicklingError):
        load(str(path), map_location='cpu')
    assert not ran.exists()
