"""The sky: a gradient, clouds that recede towards the horizon, a glow around the sun."""

from __future__ import annotations

import cv2
import numpy as np

from toy_data.brushes.noise import fractal, sample
from toy_data.streets.camera import FAR
from toy_data.streets.classes import SKY
from toy_data.streets.painter import Painter

COARSE = 2
"""Canvas pixels per drawn pixel of the sky."""


def paint_sky(painter: Painter, rng: np.random.Generator) -> None:
    """Fill the canvas down to the horizon with sky; everything else is painted over it."""
    camera, light = painter.camera, painter.light
    # The sky has no edges, so that a coarse drawing of it scales up without loss.
    last = min(max(int(camera.horizon) + 2, 1), camera.height)
    rows = np.arange(COARSE / 2, last + COARSE, COARSE, dtype=np.float32)[:, None]
    columns = np.arange(COARSE / 2, camera.width + COARSE, COARSE, dtype=np.float32)[None, :]
    # Tangent of the angle above the horizon; the picture shows little more than 0.5.
    rise = np.maximum(camera.horizon - rows, 0) / camera.focal
    side = (columns - camera.centre) / camera.focal
    blend = 1 - np.exp(-3.2 * rise)[..., None]
    colour = light.horizon * (1 - blend) + light.zenith * blend
    colour = _with_clouds(painter, rng, colour + _glow(painter, rise, side), rise, side)
    colour = cv2.resize(colour.astype(np.float32), None, fx=COARSE, fy=COARSE)
    painter.colour[:last] = colour[:last, : camera.width]
    painter.label[:last] = SKY
    painter.depth[:last] = FAR


def _glow(painter: Painter, rise: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Light around the sun, ``(height, width, 3)``; nothing if the sun is behind the camera."""
    light = painter.light
    x, y, z = light.towards
    if z < 0.1:
        return np.zeros(3)
    distance = np.hypot(side - x / z, rise - y / z)
    halo = 0.5 * np.exp(-4.0 * distance) + 1.5 * np.exp(-((distance / 0.045) ** 2))
    warm = light.sun if light.sun.max() > 0 else light.horizon * 0.4
    return halo[..., None] * warm


def _with_clouds(
    painter: Painter, rng: np.random.Generator, sky: np.ndarray, rise: np.ndarray, side: np.ndarray
) -> np.ndarray:
    """Lay clouds over the sky, as noise on a level sheet high above the street."""
    light = painter.light
    tile = fractal(rng, 192, 192, cells=5, octaves=5)
    distance = 1 / (rise + 0.12)
    drift = rng.uniform(0, 192, 2)
    u, v = side * distance * 30 + drift[0], distance * 26 + drift[1] + 0 * side
    field = sample(tile, u, v)
    threshold = 0.85 - 0.75 * light.clouds
    cover = np.clip((field - threshold) / 0.22, 0, 1)[..., None]
    # Thick parts are darker from below; the light of the sun tints the thin parts.
    thick = np.clip((field - threshold - 0.12) / 0.35, 0, 1)[..., None]
    bright = light.ambient * 1.1 + 0.45 * light.sun + 0.12 * light.horizon
    cloud = bright * (1 - 0.38 * thick)
    return sky + cover * np.minimum(3.5 * rise[..., None] + 0.15, 0.9) * (cloud - sky)
