"""Labels as colours."""

from types import SimpleNamespace

import numpy as np
import torch

from st_mm.analysis.predictions.segmentation import HEIGHT, Segmentation, outlined, paint

PALETTE = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=np.uint8)


def test_paint() -> None:
    labels = np.array([[0, 2], [255, 1]])
    expected = np.array([[PALETTE[0], PALETTE[2]], [[0, 0, 0], PALETTE[1]]])
    assert np.array_equal(paint(labels, PALETTE), expected)


def test_white_lines_part_what_is_one_grey() -> None:
    labels = np.array([[0, 0, 1], [0, 0, 1]])
    painted = outlined(labels, PALETTE)
    assert painted.shape == (HEIGHT, 3 * HEIGHT // 2, 3)
    white = (painted == 255).all(axis=-1)
    assert white.sum(axis=1).tolist() == [1] * HEIGHT  # between the classes, and nowhere else
    assert np.array_equal(painted[0, 0], PALETTE[0])
    assert np.array_equal(painted[-1, -1], PALETTE[1])


def test_the_legend_has_what_is_seen() -> None:
    def pixels(labels: list) -> SimpleNamespace:
        return SimpleNamespace(data=torch.tensor([labels]))

    task = Segmentation(dict(classes=('road', 'car', 'sky'), palette=PALETTE.tolist()))
    task.predicted(SimpleNamespace(pred_sem_seg=pixels([[2, 0]])))
    assert task.legend == (('road', (255, 0, 0)), ('sky', (0, 0, 255)))
    task.predicted(SimpleNamespace(pred_sem_seg=pixels([[255, 0]])))
    assert task.legend[-1] == ('no label', (0, 0, 0))
