"""Random fields in [0, 1]: the raw material of every texture."""

from __future__ import annotations

import cv2
import numpy as np


def fractal(
    rng: np.random.Generator, height: int, width: int, cells: float = 4.0, octaves: int = 4
) -> np.ndarray:
    """Smooth noise with detail at several scales.

    Args:
        rng (np.random.Generator): Source of randomness.
        height (int): Rows of the field.
        width (int): Columns of the field.
        cells (float): Blobs along the shorter side at the coarsest scale. Defaults to 4.
        octaves (int): Number of scales, each twice as fine and half as strong. Defaults to 4.

    Returns:
        np.ndarray: ``(height, width)`` float32, mean near 0.5, mostly within [0, 1].
    """
    field = np.zeros((height, width), np.float32)
    step, weight, total = min(height, width) / cells, 1.0, 0.0
    for _ in range(octaves):
        grid = rng.random((int(height / step) + 2, int(width / step) + 2), dtype=np.float32)
        field += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        total += weight
        step, weight = max(step / 2, 1.0), weight / 2
    # Summing octaves narrows the spread; stretch it back about the middle.
    return np.clip(0.5 + 1.6 * (field / total - 0.5), 0.0, 1.0)


def sample(tile: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Read a tile at real-valued positions, repeating it without end.

    Args:
        tile (np.ndarray): ``(n, m)`` float32.
        u (np.ndarray): Columns, any shape ``(h, w)``.
        v (np.ndarray): Rows, same shape.

    Returns:
        np.ndarray: ``(h, w)`` float32.
    """
    # A tile beside its mirror images repeats without seams.
    wide = np.concatenate([tile, tile[:, ::-1]], axis=1)
    seamless = np.concatenate([wide, wide[::-1]], axis=0)
    u, v = np.asarray(u, np.float32), np.asarray(v, np.float32)
    return cv2.remap(seamless, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
