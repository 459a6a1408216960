"""Which weights are kept: scores, schedules, scopes, patterns and masks."""

from .criterion import Criterion
from .evidence import Evidence
from .growth import grow
from .masks import Change, Masks, pack, unpack
from .patterns import NM, PATTERNS, ChannelBlock, Pattern
from .prunable import Survey, matches, prunable_weights, survey
from .schedule import SCHEDULES, Constant, Cubic, OneShot, Progressive, Schedule
from .scope import SCOPES, Rule, assign, choose, lowest
from .scores import SCORES, magnitude, random
from .shuffle import shuffle
from .straight_through import StraightThrough

__all__ = [
    'NM',
    'PATTERNS',
    'SCHEDULES',
    'SCOPES',
    'SCORES',
    'Change',
    'ChannelBlock',
    'Constant',
    'Criterion',
    'Cubic',
    'Evidence',
    'Masks',
    'OneShot',
    'Pattern',
    'Progressive',
    'Rule',
    'Schedule',
    'StraightThrough',
    'Survey',
    'assign',
    'choose',
    'grow',
    'lowest',
    'magnitude',
    'matches',
    'pack',
    'prunable_weights',
    'random',
    'shuffle',
    'survey',
    'unpack',
]
