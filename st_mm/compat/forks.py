"""The maintained forks of the mm packages: the same modules, distributed under other names."""

import torch
from mmengine.config import utils
from mmengine.runner import checkpoint

from ..requirements import REQUIREMENTS, installed_version

FORK = 'onedl-'
OWN_LOAD = '_safe_torch_load'


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


def read_checkpoints_as_torch_does() -> None:
    """Let the fork of mmengine read checkpoints by ``torch.load``, which runs nothing of a file.

    Cause: its own function (``mmengine/runner/checkpoint.py``) allows the real ``getattr`` and
    ``numpy.ndarray`` for the time of a load. They share their names with what
    :mod:`st_mm.compat.unpickling` allows, and it depends on hashes which of them a file gets. What
    torch then refuses it reads again with ``weights_only=False``: code in the file is run.
    """
    if hasattr(checkpoint, OWN_LOAD):
        setattr(checkpoint, OWN_LOAD, torch.load)
