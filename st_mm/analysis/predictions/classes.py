"""Classification: the classes with the largest scores."""

from collections.abc import Mapping
from typing import Any

import mmcv

from .panels import Bars, Colour, Panel, Picture

SHOWN = 3


class Classes:
    """Show the scores of pictures.

    Args:
        meta (Mapping[str, Any]): Of the data set, with ``classes``.
    """

    columns = ('input, truth',)
    legend: tuple[tuple[str, Colour], ...] = ()

    def __init__(self, meta: Mapping[str, Any]) -> None:
        self._classes = meta['classes']

    def given(self, sample: Any) -> tuple[Panel, ...]:
        """Show the picture of a data sample, and below it its class."""
        image = mmcv.imread(sample.img_path, channel_order='rgb')
        return (Picture(image, self._classes[int(sample.gt_label)]),)

    def predicted(self, sample: Any) -> Panel:
        """Show the largest scores of a data sample."""
        shares, labels = sample.pred_score.topk(min(SHOWN, len(self._classes)))
        truth = int(sample.gt_label)
        return Bars(
            names=tuple(self._classes[label] for label in labels.tolist()),
            shares=tuple(shares.tolist()),
            right=labels.tolist().index(truth) if truth in labels.tolist() else None,
        )
