"""Segmentation: labels as colours."""

from collections.abc import Mapping
from typing import Any

import mmcv
import numpy as np

from .panels import Array, Colour, Panel, Picture

NO_LABEL = 'no label'
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
HEIGHT = 384  # of painted labels, in pixels or a little more: lines between them are thin


class Segmentation:
    """Paint the labels of pictures.

    Args:
        meta (Mapping[str, Any]): Of the data set, with ``classes`` and ``palette``.
    """

    columns = ('input', 'truth')

    def __init__(self, meta: Mapping[str, Any]) -> None:
        self._classes = meta['classes']
        self._palette = np.asarray(meta['palette'], dtype=np.uint8)
        self._seen: set[int] = set()

    def given(self, sample: Any) -> tuple[Panel, ...]:
        """Show picture and truth of a data sample."""
        image = mmcv.imread(sample.img_path, channel_order='rgb')
        return Picture(image), self._labels(sample.gt_sem_seg)

    def predicted(self, sample: Any) -> Panel:
        """Show the prediction of a data sample."""
        return self._labels(sample.pred_sem_seg)

    @property
    def legend(self) -> tuple[tuple[str, Colour], ...]:
        """The classes that have been shown, and what is none."""
        classes = len(self._classes)
        found = [
            (self._classes[label], _colour(self._palette[label]))
            for label in sorted(self._seen)
            if label < classes
        ]
        none = any(label >= classes for label in self._seen)
        return (*found, *([(NO_LABEL, BLACK)] if none else []))

    def _labels(self, pixels: Any) -> Picture:
        labels = pixels.data[0].cpu().numpy().astype(int)
        self._seen.update(np.unique(labels).tolist())
        return Picture(outlined(labels, self._palette))


def paint(labels: Array, palette: Array) -> Array:
    """Colour (H, W) labels with a (classes, 3) palette; indices that are not classes are black."""
    colours = np.zeros((max(int(labels.max()), len(palette)) + 1, 3), np.uint8)
    colours[: len(palette)] = palette
    painted: Array = colours[labels]
    return painted


def outlined(labels: Array, palette: Array) -> Array:
    """Colour (H, W) labels, larger, with white lines between them: many colours are one grey."""
    times = -(-HEIGHT // labels.shape[0])
    labels = labels.repeat(times, axis=0).repeat(times, axis=1)
    painted = paint(labels, palette)
    painted[:-1][labels[1:] != labels[:-1]] = WHITE
    painted[:, :-1][labels[:, 1:] != labels[:, :-1]] = WHITE
    return painted


def _colour(values: Array) -> Colour:
    red, green, blue = (int(value) for value in values)
    return red, green, blue
