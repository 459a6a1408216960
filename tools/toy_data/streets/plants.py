"""Plants: trees with leafy crowns, bushes and hedges."""

from __future__ import annotations

import cv2
import numpy as np

from toy_data.brushes.chance import pick
from toy_data.brushes.noise import fractal
from toy_data.streets.classes import VEGETATION
from toy_data.streets.painter import Flat, Painter

BARK = np.array([0.30, 0.23, 0.17])
LEAVES = np.array([
    (.20, .34, .10), (.28, .40, .14), (.16, .28, .12), (.34, .42, .16), (.22, .32, .20),
    (.42, .42, .16), (.55, .38, .12), (.50, .26, .12),
])  # fmt: skip
LEAF_CHANCES = (5, 5, 4, 3, 3, 2, 1, 1)


def leaf_colour(rng: np.random.Generator) -> np.ndarray:
    """Albedo ``(3,)`` of a plant: mostly some green, sometimes autumn."""
    return pick(rng, LEAVES, LEAF_CHANCES) * rng.uniform(0.8, 1.25)


def paint_tree(
    painter: Painter, rng: np.random.Generator, x: float, z: float, height: float, kind: str
) -> None:
    """Paint a tree.

    Args:
        painter (Painter): Paints.
        rng (np.random.Generator): Source of randomness.
        x (float): Position in metres.
        z (float): Position in metres.
        height (float): Height in metres.
        kind (str): ``'round'``, ``'slim'`` or ``'conifer'``.
    """
    stem, width = {
        'round': (0.34, rng.uniform(0.6, 0.85)),
        'slim': (0.14, rng.uniform(0.26, 0.36)),
        'conifer': (0.08, rng.uniform(0.38, 0.5)),
    }[kind]
    card = Flat(painter, x, z)
    lean, girth = rng.uniform(-0.03, 0.03) * height, 0.032 * height + 0.06
    card.limb((0, 0), (lean, 0.62 * height), (girth, 0.5 * girth), BARK * rng.uniform(0.7, 1.3),
              VEGETATION)  # fmt: skip
    if kind == 'round':
        for arm in (-1, 1):
            reach = (lean + arm * 0.16 * height, 0.6 * height)
            card.limb((lean * 0.5, 0.32 * height), reach, (0.6 * girth, 0.3 * girth), BARK,
                      VEGETATION)  # fmt: skip
    crown = (width * height, (1 - stem) * height)
    lit, mask = leafy(painter, rng, crown, z, leaf_colour(rng), kind)
    painter.sprite(x + lean, stem * height, z, crown, lit, mask, VEGETATION)


def paint_bush(
    painter: Painter, rng: np.random.Generator, x: float, z: float, size: tuple[float, float]
) -> None:
    """Paint a bush of ``size`` (width, height) in metres."""
    lit, mask = leafy(painter, rng, size, z, leaf_colour(rng), 'round')
    painter.sprite(x, -0.1 * size[1], z, size, lit, mask, VEGETATION)


def paint_hedge(
    painter: Painter, rng: np.random.Generator, x: float, start: float, end: float, height: float
) -> None:
    """Paint a trimmed hedge along the street, from z = start to z = end."""
    detail = float(np.clip(painter.camera.metres(1.0, max(start, abs(x))), 3, 20))
    shape = (max(int(height * detail), 6), max(int((end - start) * detail), 6))
    field = fractal(rng, *shape, cells=height * 3, octaves=4)
    level = (0.45 + 1.1 * field) * np.linspace(1.15, 0.7, shape[0])[:, None]
    albedo = (level[..., None] * leaf_colour(rng)).astype(np.float32)
    quad = np.array([[x, height, start], [x, height, end], [x, 0, end], [x, 0, start]])
    painter.texture(quad, albedo, VEGETATION, np.array([-np.sign(x), 0.0, 0.0]))
    outer = x + np.sign(x) * 0.8
    top = np.array([[x, height, start], [x, height, end], [outer, height, end],
                    [outer, height, start]])  # fmt: skip
    painter.polygon(top, albedo.mean((0, 1)) * 1.15, VEGETATION, np.array([0.0, 1.0, 0.0]))
    stub = np.array([[x, height, start], [outer, height, start], [outer, 0, start], [x, 0, start]])
    painter.polygon(stub, albedo.mean((0, 1)) * 0.9, VEGETATION, np.array([0.0, 0.0, -1.0]))


def leafy(
    painter: Painter, rng: np.random.Generator, size: tuple[float, float], z: float,
    colour: np.ndarray, kind: str,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Draw a crown as a lumpy solid: noise swells the outline and bends the normals.

    Args:
        painter (Painter): For the light and the scale.
        rng (np.random.Generator): Source of randomness.
        size (tuple[float, float]): Width and height in metres.
        z (float): Distance in metres; decides the resolution.
        colour (np.ndarray): ``(3,)`` albedo of the leaves.
        kind (str): ``'round'``, ``'slim'`` or ``'conifer'``.

    Returns:
        tuple[np.ndarray, np.ndarray]: Light ``(h, w, 3)`` and mask ``(h, w)``, both float32.
    """
    columns, rows = (int(np.clip(painter.camera.metres(length, z) / 2, 10, 240)) for length in size)
    v, u = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j].astype(np.float32)
    clumps = fractal(rng, rows, columns, cells=4, octaves=3)
    leaves = fractal(rng, rows, columns, cells=max(min(size) * 2.2, 4), octaves=3)
    if kind == 'conifer':
        # Tiers of branches: the half width grows downwards in steps.
        reach = 0.5 * (v + 1) * (0.78 + 0.22 * np.modf((v + 1) * 3)[0]) + 0.02
        radius = np.abs(u) / np.maximum(reach, 1e-3)
    else:
        radius = np.hypot(u, v)
    radius = radius + 0.55 * (0.5 - clumps) + 0.35 * (0.5 - leaves)
    swell = np.sqrt(np.clip(1 - radius**2, 0.02, 1)) + 0.35 * clumps + 0.12 * leaves
    slope_u = cv2.Sobel(swell, cv2.CV_32F, 1, 0, ksize=3, scale=columns / 16)
    slope_v = cv2.Sobel(swell, cv2.CV_32F, 0, 1, ksize=3, scale=rows / 16)
    norm = np.sqrt(slope_u**2 + slope_v**2 + 1)
    towards = painter.light.towards
    # Picture rows run downwards and z runs away from the camera.
    facing = (-slope_u * towards[0] + slope_v * towards[1] - towards[2]) / norm
    direct = np.clip(0.25 + 0.75 * facing, 0, 1)[..., None]
    open_sky = (0.62 + 0.38 * np.clip(slope_v / norm, -1, 1))[..., None]
    depth = (0.5 + 0.9 * leaves)[..., None]
    lit = depth * colour * (painter.light.ambient * open_sky * 1.15 + painter.light.sun * direct)
    mask = np.where(radius < 0.92, 1.0, 0.0).astype(np.float32)
    mask[[0, -1]] = 0
    mask[:, [0, -1]] = 0
    return lit.astype(np.float32), mask
