"""From an outline to a picture: pose, colours, textures, clutter and noise."""

from __future__ import annotations

import cv2
import numpy as np

from toy_data.brushes.chance import pick
from toy_data.brushes.noise import fractal
from toy_data.shapes.outlines import KINDS

SUPERSAMPLING = 3
"""Canvas pixels per picture pixel and axis."""

CONTRAST = 0.3
"""How much brighter or darker than the ground a shape is at least, of 1."""

SUBPIXEL_BITS = 4


def draw(rng: np.random.Generator, kind: str, size: tuple[int, int]) -> np.ndarray:
    """Draw one shape.

    Args:
        rng (np.random.Generator): Source of randomness.
        kind (str): Which of `KINDS`.
        size (tuple[int, int]): Height and width in pixels.

    Returns:
        np.ndarray: ``(height, width, 3)`` uint8 RGB picture.
    """
    height, width = (SUPERSAMPLING * side for side in size)
    ground, paint = colours(rng)
    canvas = textured(rng, height, width, ground)
    clutter(rng, canvas, number=int(rng.integers(3, 9)))
    mask = np.zeros((height, width), np.float32)
    contours = [to_pixels(contour) for contour in posed(rng, KINDS[kind](rng), (height, width))]
    cv2.fillPoly(mask, contours, 1.0, cv2.LINE_8, SUBPIXEL_BITS)
    # a soft shadow to one side, then the shape itself, then a little that lies on top
    shadow = cv2.GaussianBlur(np.roll(mask, rng.integers(-6, 7, 2), (0, 1)), (0, 0), height / 50)
    canvas *= 1 - rng.uniform(0, 0.4) * shadow[..., None]
    canvas += mask[..., None] * (textured(rng, height, width, paint) - canvas)
    clutter(rng, canvas, number=int(rng.integers(0, 3)))
    return developed(rng, canvas, size)


def colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Colours ``(3,)`` of the ground and of the shape, apart in brightness but else any."""
    while True:
        ground, paint = rng.uniform(0.05, 0.95, (2, 3))
        if abs(ground.mean() - paint.mean()) > CONTRAST:
            return ground, paint


def textured(rng: np.random.Generator, height: int, width: int, colour: np.ndarray) -> np.ndarray:
    """A surface ``(height, width, 3)`` float32 of about one colour: stained, striped or plain."""
    second = np.clip(colour + rng.uniform(-0.18, 0.18, 3), 0, 1)
    style = pick(rng, ('stains', 'stripes', 'slope', 'plain'), (0.4, 0.25, 0.2, 0.15))
    if style == 'stains':
        blend = fractal(rng, height, width, cells=rng.uniform(2, 10))
    elif style == 'plain':
        blend = np.zeros((height, width), np.float32)
    else:
        angle, waves = rng.uniform(0, 2 * np.pi), rng.uniform(3, 8)
        v, u = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
        way = u * np.cos(angle) + v * np.sin(angle)
        blend = (way * waves % 1 < 0.5) if style == 'stripes' else np.clip(0.5 + way / 2, 0, 1)
    surface = colour + np.asarray(blend)[..., None] * (second - colour)
    return surface.astype(np.float32)


def posed(
    rng: np.random.Generator, contours: list[np.ndarray], size: tuple[int, int]
) -> list[np.ndarray]:
    """Turns, stretches, scales and shifts contours so that they lie inside a canvas."""
    turn = rng.uniform(0, 2 * np.pi)
    rotation = np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))])
    stretch = np.diag([1.0, rng.uniform(0.8, 1.0)])
    turned = [contour @ stretch @ rotation for contour in contours]
    scale = rng.uniform(0.26, 0.44) * min(size)
    points = np.concatenate(turned) * scale
    low, high = points.min(0), points.max(0)
    room = np.array(size[::-1]) - (high - low)
    shift = rng.uniform(0.04, 0.96, 2) * room - low
    return [contour * scale + shift for contour in turned]


def clutter(rng: np.random.Generator, canvas: np.ndarray, number: int) -> None:
    """Draw small things that are none of our shapes: scratches, bent wires and crumbs."""
    height, width = canvas.shape[:2]
    reach = min(height, width)
    for _ in range(number):
        colour = rng.uniform(0, 1, 3).tolist()
        points = rng.uniform(0, 1, 2) * (width, height)
        if rng.random() < 0.5:
            steps = rng.normal(0, reach / 9, (int(rng.integers(2, 6)), 2))
            line = to_pixels(points + np.cumsum(steps, axis=0))
            thickness = max(int(reach * rng.uniform(0.01, 0.03)), 1)
            cv2.polylines(canvas, [line], False, colour, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
        else:
            crumb = points + rng.normal(0, reach / 30, (int(rng.integers(4, 8)), 2))
            cv2.fillPoly(canvas, [to_pixels(crumb)], colour, cv2.LINE_AA, SUBPIXEL_BITS)


def to_pixels(points: np.ndarray) -> np.ndarray:
    """Points ``(n, 2)`` of a canvas in the fixed-point numbers that OpenCV draws with."""
    return np.round(points * (1 << SUBPIXEL_BITS)).astype(np.int32)


def developed(rng: np.random.Generator, canvas: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Take the picture ``(height, width, 3)`` uint8: uneven light, blur and sensor noise."""
    picture = cv2.resize(canvas, size[::-1], interpolation=cv2.INTER_AREA)
    light = fractal(rng, *size, cells=1.5, octaves=1)
    picture *= rng.uniform(0.8, 1.1) * (0.8 + 0.4 * light[..., None])
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.2, 0.9))
    noise = rng.standard_normal(picture.shape, dtype=np.float32)
    picture += rng.uniform(0.01, 0.06) * noise
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
