"""What tickets predict for pictures of their data, side by side (the paper's Figs. 10 to 12)."""

from .figure import plot_predictions
from .panels import Bars, Picture, Predictions
from .predict import SPLITS, TASKS, predict

__all__ = [
    'SPLITS',
    'TASKS',
    'Bars',
    'Picture',
    'Predictions',
    'plot_predictions',
    'predict',
]
