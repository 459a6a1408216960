"""The maintained forks of the mm packages: the same modules, distributed under other names."""

from mmengine.config import utils

from ..requirements import REQUIREMENTS, installed_version

FORK = 'onedl-'


def find_forks() -> None:
    """Let ``_base_ = 'mmseg::...'`` find the configs of a fork.

    Cause: mmengine, and its fork too, looks for them in the distribution that ``MODULE2PACKAGE``
    names (``mmengine/config/utils.py``): ``mmsegmentation``, which is not installed where
    ``onedl-mmsegmentation`` is. Bases are read before ``custom_imports``, so ``import st_mm`` has
    to come before ``Config.fromfile``.
    """
    for requirement in REQUIREMENTS:
        original = utils.MODULE2PACKAGE.get(requirement.module)
        if original is None or installed_version(original):
            continue
        for name in requirement.distributions:
            if name.startswith(FORK) and installed_version(name):
                utils.MODULE2PACKAGE[requirement.module] = name
