"""What has been painted: colours, and at every spot the number of the part on top."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

FINE = 3
"""Spots along each side of a pixel: edges come out smooth, areas and what hides what exact."""

CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 24, endpoint=False)) for f in (np.cos, np.sin)], 1)


class Canvas:
    """Colours and part numbers of a picture, painted from far to near.

    Args:
        background (np.ndarray): ``(h, w, 3)`` RGB uint8; its part number is 0.
    """

    def __init__(self, background: np.ndarray) -> None:
        self.height, self.width = background.shape[:2]
        size = (FINE * self.width, FINE * self.height)
        self.colours = cv2.resize(background, size, interpolation=cv2.INTER_LINEAR)
        self.parts = np.zeros(size[::-1], np.int32)

    def paint(
        self,
        centres: Sequence[np.ndarray],
        radii: Sequence[float],
        colour: Sequence[int],
        part: int = 0,
    ) -> np.ndarray:
        """Fill the convex hull of some discs.

        Args:
            centres (Sequence[np.ndarray]): (column, row) of each disc in pixels; what follows in
                an array is ignored.
            radii (Sequence[float]): Their radii in pixels.
            colour (Sequence[int]): RGB.
            part (int): Number of the part that this is. Defaults to 0, the background's.

        Returns:
            np.ndarray: ``(FINE * h, FINE * w)`` bool: the spots it covers.
        """
        discs = [
            centre[:2] + radius * CIRCLE for centre, radius in zip(centres, radii, strict=True)
        ]
        hull = cv2.convexHull(np.float32(spot(np.concatenate(discs))))
        mask = np.zeros(self.parts.shape, np.uint8)
        cv2.fillConvexPoly(mask, np.rint(hull).astype(np.int32), 1)
        covered = mask.astype(bool)
        self.colours[covered] = colour
        self.parts[covered] = part
        return covered

    def part_at(self, point: np.ndarray) -> int | None:
        """Number of the part on top at (column, row) in pixels; None outside the picture."""
        if not (0 <= point[0] <= self.width - 1 and 0 <= point[1] <= self.height - 1):
            return None
        column, row = np.rint(spot(point[:2])).astype(int)
        return int(self.parts[row, column])

    def picture(self) -> np.ndarray:
        """The picture, ``(h, w, 3)`` RGB uint8."""
        return cv2.resize(self.colours, (self.width, self.height), interpolation=cv2.INTER_AREA)


def spot(points: np.ndarray) -> np.ndarray:
    """Pixels to spots, both with whole numbers in their middles."""
    return (points + 0.5) * FINE - 0.5


def extent(covered: np.ndarray) -> tuple[list[float], float]:
    """Box (left, top, width, height) and area in pixels of the spots that something covers."""
    rows, columns = (np.flatnonzero(covered.any(axis)) / FINE for axis in (1, 0))
    sizes = [float(at[-1] - at[0] + 1 / FINE) for at in (columns, rows)]
    return [float(columns[0]), float(rows[0]), *sizes], float(covered.sum() / FINE**2)
