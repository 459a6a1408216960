"""The lens and the sensor: from clean buffers at canvas scale to a photograph."""

from __future__ import annotations

import cv2
import numpy as np

from toy_data.brushes.chance import pick
from toy_data.brushes.noise import fractal
from toy_data.streets.classes import IGNORE, SKY
from toy_data.streets.light import Light
from toy_data.streets.painter import Painter

SUPERSAMPLING = 2
"""Canvas pixels per picture pixel and axis."""


def paint_bonnet(painter: Painter, rng: np.random.Generator) -> None:
    """Paint the bonnet of the camera's own car at the bottom; nobody labels it (255)."""
    camera, light = painter.camera, painter.light
    rise = rng.uniform(0.05, 0.12) * camera.height
    bow = np.linspace(-1, 1, 33)
    edge = camera.height - rise * (1 - 0.55 * bow**4 - 0.15 * bow**2)
    colour = np.array(pick(rng, ((0.10, 0.10, 0.11), (0.45, 0.46, 0.48), (0.16, 0.20, 0.30))))
    lit = colour * light.shade(np.array([0.0, 1.0, 0.0])) + 0.12 * light.zenith
    for depth, factor in ((0.0, 0.55), (0.16, 1.0), (0.55, 0.8)):
        top = np.stack([(bow + 1) / 2 * camera.width, edge + depth * rise], axis=1)
        corners = np.array([[camera.width, camera.height], [0, camera.height]])
        painter.stroke(np.concatenate([top, corners]), lit * factor, IGNORE, 1.0)


def develop(painter: Painter, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Take the picture.

    Returns:
        tuple[np.ndarray, np.ndarray]: RGB image ``(h, w, 3)`` and trainIds ``(h, w)``, both uint8,
        with h and w the canvas size divided by `SUPERSAMPLING`.
    """
    light = painter.light
    # Averaging labels makes no sense: one canvas pixel of each block speaks for the block.
    labels = painter.label[::SUPERSAMPLING, ::SUPERSAMPLING].copy()
    height, width = labels.shape
    image = _through_air(painter, rng, (width, height))
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.55) * max(height / 128, 1) ** 0.5)
    image = _bloom(image, 0.55 if light.lamps else 0.12)
    image *= _vignette(height, width, rng.uniform(0.05, 0.22))
    image *= _exposure(rng, image, light) * rng.uniform(0.96, 1.04, 3).astype(np.float32)
    grey = image.mean(axis=2, keepdims=True)
    image = grey + rng.uniform(0.85, 1.15) * (image - grey)
    # A soft shoulder keeps lamps and sunlit walls from clipping at once.
    image = np.where(image > 0.75, 0.75 + 0.25 * np.tanh((image - 0.75) / 0.25), image)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    image = image + light.grain * (0.4 + np.sqrt(np.clip(image, 0, 1))) * noise
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8), labels


def _through_air(painter: Painter, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Add the haze that grows with depth, head lights and grain; scale down to (w, h)."""
    light = painter.light
    clear = np.exp(-light.haze * painter.depth)
    clear[painter.label == SKY] = 1.0
    gain = clear * (1 + 0.9 * np.exp(-painter.depth / 14)) if light.lamps else clear
    # Light adds up within a picture pixel, so that the mean is taken after the haze.
    arriving = painter.colour * cv2.merge([gain, gain, gain])
    arriving = cv2.resize(arriving, size, interpolation=cv2.INTER_AREA)
    clear = cv2.resize(clear, size, interpolation=cv2.INTER_AREA)
    # No surface is quite even; the sky, at haze-free 1, is.
    grain = 0.97 + 0.06 * fractal(rng, *size[::-1], cells=size[1] / 3, octaves=1)
    grain[clear == 1] = 1.0
    return arriving * grain[..., None] + (1 - clear)[..., None] * light.horizon.astype(np.float32)


def _exposure(rng: np.random.Generator, image: np.ndarray, light: Light) -> float:
    """Gain of a camera that aims at a mean brightness, but never gets quite there."""
    aim = {'night': 0.20, 'dusk': 0.32}.get(light.name, 0.45) * rng.uniform(0.8, 1.2)
    return float(np.clip(aim / image.mean(), 0.6, 2.2)) ** 0.8


def _bloom(image: np.ndarray, strength: float) -> np.ndarray:
    """Spread the excess of bright spots over their surroundings."""
    excess = np.clip(image - 0.9, 0, 2)
    return image + strength * cv2.GaussianBlur(excess, (0, 0), max(image.shape[0] / 40, 1))


def _vignette(height: int, width: int, strength: float) -> np.ndarray:
    """Darkening towards the corners as a factor ``(height, width, 1)``."""
    v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return (1 - strength * (u**2 + v**2) / 2).astype(np.float32)[..., None]
