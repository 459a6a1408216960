"""Hooks for any mmengine Runner: they say when things happen."""

from .distill_hook import DistillHook
from .fixed_mask_hook import FixedMaskHook
from .freeze_hook import FreezeHook
from .initial_checkpoint_hook import InitialCheckpointHook
from .progressive_prune_hook import ProgressivePruneHook
from .prune_hook import PruneHook
from .reactivate_hook import ReactivateHook
from .reap_hook import ReapHook
from .recalibrate_hook import RecalibrateHook
from .search_hook import SearchHook

__all__ = [
    'DistillHook',
    'FixedMaskHook',
    'FreezeHook',
    'InitialCheckpointHook',
    'ProgressivePruneHook',
    'PruneHook',
    'ReactivateHook',
    'ReapHook',
    'RecalibrateHook',
    'SearchHook',
]
