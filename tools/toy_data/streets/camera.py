"""The one camera model: a pinhole above a flat ground, looking along a gently bending road."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEAR = 0.6
FAR = 220.0


@dataclass(frozen=True)
class Camera:
    """Maps the world in metres to canvas pixels.

    World axes: x to the right of the road's centre line, y up from the ground, z along the road.
    The road's bend is part of the projection (x shifts by ``bend * z**2``), so that everything
    that is placed along the road may pretend that the road is straight.

    Args:
        height (int): Canvas rows.
        width (int): Canvas columns.
        focal (float): Focal length in canvas pixels.
        horizon (float): Canvas row of the horizon.
        centre (float): Canvas column of the vanishing point of a straight road.
        eye (float): Height of the camera above the ground in metres.
        lane (float): x position of the camera in metres.
        bend (float): Sideways shift of the road per squared metre of distance.
    """

    height: int
    width: int
    focal: float
    horizon: float
    centre: float
    eye: float
    lane: float
    bend: float

    def view(self, points: np.ndarray) -> np.ndarray:
        """Points relative to the eye, bend included: ``(..., 3)`` world -> ``(..., 3)`` metres."""
        seen = points - np.array([self.lane, self.eye, 0.0])
        seen[..., 0] += self.shift(points[..., 2])
        return seen

    def project(self, points: np.ndarray) -> np.ndarray:
        """Canvas positions (column, row) of world points: ``(..., 3)`` -> ``(..., 2)`` pixels."""
        z = np.maximum(points[..., 2], NEAR)
        scale = self.focal / z
        pixels = np.empty((*points.shape[:-1], 2))
        pixels[..., 0] = self.centre + scale * (points[..., 0] - self.lane)
        pixels[..., 1] = self.horizon - scale * (points[..., 1] - self.eye)
        if self.bend:
            # The shift by bend * z**2 metres, in pixels at distance z.
            pixels[..., 0] += self.focal * self.bend * np.minimum(z, FAR)
        return pixels

    def sees(self, x: float, z: float, reach: float) -> bool:
        """Whether something at (x, z), ``reach`` metres wide to either side, is in the picture."""
        if z < NEAR:
            return False
        scale = self.focal / z
        column = self.centre + scale * (x - self.lane + self.bend * min(z, FAR) * z)
        return -scale * reach < column < self.width + scale * reach

    def ground(self) -> tuple[int, np.ndarray, np.ndarray]:
        """The point of the ground that each pixel below the horizon shows.

        Returns:
            tuple[int, np.ndarray, np.ndarray]: The first row ``r`` below the horizon, and x and z
            in metres, both ``(height - r, width)`` float32.
        """
        first = min(max(int(np.floor(self.horizon)) + 1, 0), self.height - 1)
        rows = np.arange(first, self.height, dtype=np.float32)[:, None]
        columns = np.arange(self.width, dtype=np.float32)[None, :]
        z = self.focal * self.eye / np.maximum(rows - self.horizon, 0.25)
        x = self.lane + (columns - self.centre) * z / self.focal - self.shift(z)
        return first, x.astype(np.float32), np.broadcast_to(z, x.shape).astype(np.float32)

    def shift(self, z: np.ndarray) -> np.ndarray:
        """Sideways shift of the road in metres at distance z; straight on beyond `FAR`."""
        return self.bend * np.minimum(z, FAR) * z

    def metres(self, length: float, z: float) -> float:
        """Pixels that a length in metres covers at distance z."""
        return self.focal * length / max(z, NEAR)
