"""The supernet, its blocks and its necks, in mmengine's root registry."""

from .atomic_block import AtomicBlock
from .hr_supernet import HRSupernet
from .init import MnasNetInit
from .necks import HRClassificationNeck, HRFusionNeck
from .token_mixer import TokenMixer

__all__ = [
    'AtomicBlock',
    'HRClassificationNeck',
    'HRFusionNeck',
    'HRSupernet',
    'MnasNetInit',
    'TokenMixer',
]
