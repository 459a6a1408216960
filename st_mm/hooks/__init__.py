"""When things happen: hooks for any mmengine Runner."""

from .fixed_mask_hook import FixedMaskHook
from .prune_hook import ProgressivePruneHook
from .reactivate_hook import ReactivateHook
from .recalibrate_hook import RecalibrateHook
from .search_hook import SearchHook

__all__ = [
    'FixedMaskHook',
    'ProgressivePruneHook',
    'ReactivateHook',
    'RecalibrateHook',
    'SearchHook',
]
