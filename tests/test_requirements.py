"""The check of the mm packages: what passes, and what the error says."""

from importlib import metadata

import pytest

from st_mm import requirements

GOOD = {'torch': '2.13.0+cpu', 'mmengine': '0.10.7', 'mmcv-lite': '2.1.0'}


@pytest.fixture
def installed(monkeypatch):
    """Pretend that just these distributions are installed."""

    def pretend(versions: dict[str, str]) -> None:
        def version(name: str) -> str:
            if name in versions:
                return versions[name]
            raise metadata.PackageNotFoundError(name)

        monkeypatch.setattr(requirements.metadata, 'version', version)

    return pretend


@pytest.mark.parametrize(
    'versions',
    [
        GOOD,
        GOOD | {'mmsegmentation': '1.2.2', 'mmpose': '1.3.2', 'mmpretrain': '1.2.0'},
        {'torch': '2.5.0a0+vendor', 'mmengine': '0.10.0', 'mmcv': '2.0.0'},
        {'torch': '2.8.0', 'onedl-mmengine': '0.10.8', 'onedl-mmcv': '2.3.2.post2'},
    ],
    ids=['least', 'all', 'vendor', 'fork'],
)
def test_supported_versions_pass(versions, installed):
    installed(versions)
    requirements.check_requirements()


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        ({'mmengine': None}, ['mmengine is not installed', 'pip install "mmengine>=0.10,<1"']),
        ({'mmcv-lite': None}, ['mmcv is not installed', 'pip install "mmcv-lite>=2.0.0,<2.2.0"']),
        ({'mmcv-lite': '2.2.0'}, ['mmcv-lite 2.2.0 is installed', '>=2.0.0,<2.2.0']),
        ({'mmcv': '1.7.2'}, ['mmcv 1.7.2 is installed', 'pip install "mmcv>=2.0.0,<2.2.0"']),
        ({'mmsegmentation': '0.30.0'}, ['mmsegmentation 0.30.0', '"mmsegmentation>=1,<2"']),
        ({'mmpose': '0.29.0'}, ['mmpose 0.29.0', 'pip install --no-deps "mmpose>=1,<2"']),
        ({'mmpretrain': '2.0.0'}, ['mmpretrain 2.0.0', 'pip install "mmpretrain>=1,<2"']),
    ],
)
def test_error_names_package_versions_and_command(change, says, installed):
    installed({name: version for name, version in (GOOD | change).items() if version})
    with pytest.raises(ImportError) as error:
        requirements.check_requirements()
    assert all(part in str(error.value) for part in says)


def test_one_error_lists_every_problem(installed):
    installed({'torch': '1.13.0', 'mmpose': '0.29.0'})
    with pytest.raises(ImportError) as error:
        requirements.check_requirements()
    assert str(error.value).count('pip install') == 4  # torch, mmengine, mmcv, mmpose
