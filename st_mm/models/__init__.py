"""What is trained: the supernet, its blocks and its necks, in mmengine's root registry."""

from . import stock
from .atomic_block import AtomicBlock
from .hr_supernet import HRSupernet
from .init import MnasNetInit
from .necks import HRClassificationNeck, HRFusionNeck
from .token_mixer import TokenMixer
from .units import UnitOwner, UnitSlice

__all__ = [
    'AtomicBlock',
    'HRClassificationNeck',
    'HRFusionNeck',
    'HRSupernet',
    'MnasNetInit',
    'TokenMixer',
    'UnitOwner',
    'UnitSlice',
    'stock',
]
