"""A dataset without samples."""

import functools
from typing import Any

from mmengine.dataset import BaseDataset

from .patched import PATCHED


def name_empty_datasets() -> None:
    """Let a dataset without samples say so.

    Cause: ``mmengine/dataset/base_dataset.py`` serializes the list of samples with numpy, which
    fails on an empty one with "need at least one array to concatenate", whatever the dataset.
    """
    serialize = BaseDataset._serialize_data
    if hasattr(serialize, PATCHED):
        return

    @functools.wraps(serialize)
    def named(self: BaseDataset) -> Any:
        if not self.data_list:
            raise ValueError(
                f'{type(self).__name__} found no samples: check data_root ({self.data_root!r}), '
                f'data_prefix ({self.data_prefix}) and ann_file ({self.ann_file!r})'
            )
        return serialize(self)

    setattr(named, PATCHED, True)
    BaseDataset._serialize_data = named
