"""Networks that tickets are compared with: the data, counting them, and showing them."""

from .counting import Counted, compare_models, find_config
from .networks import SOURCES, TASKS, Figures, Reference, Task
from .showing import plot_reference, reference_table

__all__ = [
    'SOURCES',
    'TASKS',
    'Counted',
    'Figures',
    'Reference',
    'Task',
    'compare_models',
    'find_config',
    'plot_reference',
    'reference_table',
]
