"""Configs of the libraries are found, under whatever name they are distributed."""

from importlib import metadata

import pytest
from mmengine.config import Config, utils

from st_mm.compat.forks import find_forks


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
