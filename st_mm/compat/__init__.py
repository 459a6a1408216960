"""Fixes at run time, for mm packages that are older than torch.

Each is a file of its own that does nothing where it is not needed. ``st_mm`` applies them
when it is imported, which a config's ``custom_imports`` does early enough for mim and mm's tools.
"""

from .checkpoint_files import check_checkpoint_files, check_loaded_values
from .checkpoint_globals import allow_checkpoint_globals
from .cpu_ranks import tolerate_gloo_without_cuda, wrap_cpu_models_without_devices
from .empty_datasets import name_empty_datasets
from .forks import find_forks, read_checkpoints_as_torch_does
from .mmcv_ops import stub_mmcv_ops
from .torchvision_ops import tolerate_torchvision_without_ops
from .xtcocotools import stand_in_for_xtcocotools

__all__ = [
    'allow_checkpoint_globals',
    'apply',
    'check_checkpoint_files',
    'check_loaded_values',
    'find_forks',
    'name_empty_datasets',
    'read_checkpoints_as_torch_does',
    'stand_in_for_xtcocotools',
    'stub_mmcv_ops',
    'tolerate_gloo_without_cuda',
    'tolerate_torchvision_without_ops',
    'wrap_cpu_models_without_devices',
]


def apply() -> None:
    """Apply every fix this environment needs; a second call changes nothing."""
    allow_checkpoint_globals()
    check_checkpoint_files()
    check_loaded_values()
    find_forks()
    read_checkpoints_as_torch_does()
    tolerate_torchvision_without_ops()
    stub_mmcv_ops()
    stand_in_for_xtcocotools()
    tolerate_gloo_without_cuda()
    wrap_cpu_models_without_devices()
    name_empty_datasets()
