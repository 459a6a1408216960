"""The kinds of shape, each as closed contours in a frame where the shape reaches to about 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Contours = list[np.ndarray]


def arc(start: float, end: float, radius: float | np.ndarray = 1.0, points: int = 64) -> np.ndarray:
    """Points ``(points, 2)`` from one angle to another; a radius for each draws a spiral."""
    angle = np.linspace(start, end, points)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def corners(number: int, radius: float | np.ndarray = 1.0) -> np.ndarray:
    """Corners ``(number, 2)`` of a regular polygon; a radius for each draws a star."""
    return arc(0, 2 * np.pi * (1 - 1 / number), radius, number)


def arrow(rng: np.random.Generator) -> Contours:
    """A straight shaft and a pointed head."""
    shaft, head, neck = rng.uniform(0.14, 0.26), rng.uniform(0.55, 0.8), rng.uniform(-0.1, 0.3)
    half = np.array([(1.0, 0.0), (neck, head), (neck, shaft), (-1.0, shaft)])
    return [np.concatenate([half, half[:0:-1] * (1, -1)])]


def crescent(rng: np.random.Generator) -> Contours:
    """A disc without the disc that covers one side of it."""
    tip, bulge = rng.uniform(0.6, 0.95), rng.uniform(-0.35, 0.15)
    outer = arc(tip, 2 * np.pi - tip)
    # the inner circle passes through both tips and cuts the axis at `bulge`
    x, y = np.cos(tip), np.sin(tip)
    centre = (x**2 + y**2 - bulge**2) / (2 * (x - bulge))
    turn = np.arctan2(y, x - centre)
    inner = arc(2 * np.pi - turn, turn, abs(bulge - centre)) + np.array([centre, 0])
    return [np.concatenate([outer, inner])]


def cross(rng: np.random.Generator) -> Contours:
    """Two bars of equal length at a right angle."""
    half = rng.uniform(0.2, 0.32)
    arm = np.array([(half, half), (1.0, half), (1.0, -half)])
    turn = np.array([(0, -1), (1, 0)])
    return [np.concatenate([arm @ np.linalg.matrix_power(turn, k) for k in range(4)])]


def disc(rng: np.random.Generator) -> Contours:
    """A filled circle."""
    return [corners(64)]


def heart(rng: np.random.Generator) -> Contours:
    """Two lobes and a point."""
    t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return [np.stack([x, -(y + 2.5)], axis=1) / 16]


def ring(rng: np.random.Generator) -> Contours:
    """A circle with a round hole."""
    return [corners(64), corners(64, rng.uniform(0.5, 0.74))]


def spiral(rng: np.random.Generator) -> Contours:
    """A band that winds outwards from the middle."""
    turns, width = rng.uniform(1.7, 2.3), rng.uniform(0.1, 0.14)
    radius = np.linspace(0.12, 1 - width, 128)
    inner, outer = (arc(0, 2 * np.pi * turns, radius + side, 128) for side in (-width, width))
    return [np.concatenate([outer, inner[::-1]])]


def square(rng: np.random.Generator) -> Contours:
    """Four equal sides at right angles."""
    return [corners(4)]


def star(rng: np.random.Generator) -> Contours:
    """Five points."""
    return [corners(10, np.tile([1.0, rng.uniform(0.36, 0.48)], 5))]


def triangle(rng: np.random.Generator) -> Contours:
    """Three equal sides."""
    return [corners(3)]


KINDS: dict[str, Callable[[np.random.Generator], Contours]] = {
    kind.__name__: kind
    for kind in (arrow, crescent, cross, disc, heart, ring, spiral, square, star, triangle)
}
"""Every kind by its name, in the order of the labels: folder names sorted."""
