"""Street furniture: lamps, traffic lights, signs, walls and fences."""

from __future__ import annotations

import numpy as np

from toy_data.brushes.chance import pick
from toy_data.brushes.noise import fractal
from toy_data.streets.classes import FENCE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, WALL
from toy_data.streets.painter import Flat, Painter

WHITE, BLACK = np.array([0.85, 0.85, 0.83]), np.array([0.08, 0.08, 0.09])
RED, BLUE = np.array([0.78, 0.10, 0.10]), np.array([0.10, 0.26, 0.66])
YELLOW, GREEN = np.array([0.90, 0.70, 0.10]), np.array([0.08, 0.42, 0.24])


def metal(rng: np.random.Generator) -> np.ndarray:
    """Albedo ``(3,)`` of a pole: zinc, dark paint, or rust."""
    base = np.array(
        [(0.55, 0.56, 0.57), (0.20, 0.22, 0.22), (0.36, 0.30, 0.26), (0.72, 0.72, 0.70)]
    )
    return pick(rng, base) * rng.uniform(0.8, 1.15)


def paint_lamp(painter: Painter, rng: np.random.Generator, x: float, z: float) -> None:
    """Paint a street lamp whose arm reaches over the road."""
    card, colour, height = Flat(painter, x, z), metal(rng), rng.uniform(5.5, 8.0)
    reach = -np.sign(x) * rng.uniform(0.8, 1.8)
    card.limb((0, 0), (0, height), (0.24, 0.15), colour, POLE)
    card.limb((0, height), (reach, height + 0.25), (0.13, 0.12), colour, POLE)
    card.limb((0.7 * reach, height + 0.2), (1.3 * reach, height + 0.25), (0.22, 0.16), colour, POLE)
    if painter.light.lamps:
        ends = [[0.75 * reach, height + 0.08], [1.25 * reach, height + 0.12],
                [1.25 * reach, height], [0.75 * reach, height - 0.05]]  # fmt: skip
        card.polygon(ends, (2.6, 2.1, 1.3), POLE, shines=True)


def paint_traffic_light(painter: Painter, rng: np.random.Generator, x: float, z: float) -> None:
    """Paint a traffic light at the kerb, with a second head over the road on wide streets."""
    card, colour = Flat(painter, x, z), metal(rng)
    height, state = rng.uniform(3.2, 4.0), pick(rng, (0, 1, 2), (0.45, 0.15, 0.40))
    heads = [(0.0, height)]
    if abs(x) > 6 and rng.random() < 0.7:
        heads.append((-np.sign(x) * min(abs(x) - 2, 4.5), 5.6))
        card.limb((0, 0), (0, 5.9), (0.22, 0.16), colour, POLE)
        card.limb((0, 5.8), heads[1], (0.14, 0.12), colour, POLE)
    else:
        card.limb((0, 0), (0, height), (0.20, 0.16), colour, POLE)
    for across, middle in heads:
        _lamp_head(card, across, middle, state)


def _lamp_head(card: Flat, across: float, middle: float, state: int) -> None:
    """Paint three lamps in a dark case; ``state`` counts from the top (red) which one is on."""
    case = [[across - 0.32, middle - 0.8], [across - 0.32, middle + 0.8],
            [across + 0.32, middle + 0.8], [across + 0.32, middle - 0.8]]  # fmt: skip
    card.polygon(case, (0.12, 0.13, 0.13), TRAFFIC_LIGHT)
    shine = ((1.9, 0.25, 0.15), (1.8, 1.1, 0.15), (0.25, 1.7, 0.75))
    for place in range(3):
        centre = (across, middle + 0.5 - 0.5 * place)
        if place == state:
            card.disc(centre, 0.21, shine[place], TRAFFIC_LIGHT, shines=True)
        else:
            card.disc(centre, 0.19, np.array(shine[place]) * 0.12 + 0.03, TRAFFIC_LIGHT)


def paint_sign(painter: Painter, rng: np.random.Generator, x: float, z: float) -> None:
    """Paint a traffic sign on its pole: a disc, triangle, octagon, diamond or board."""
    card, colour = Flat(painter, x, z), metal(rng)
    height, size = rng.uniform(2.3, 3.0), rng.uniform(0.42, 0.58)
    card.limb((0, 0), (0, height + 0.3), (0.13, 0.11), colour, POLE)
    centre = (0.0, height)
    kind = pick(rng, ('ring', 'blue', 'triangle', 'stop', 'diamond', 'board'))
    if kind == 'ring':
        card.disc(centre, size, RED, TRAFFIC_SIGN)
        card.disc(centre, 0.7 * size, WHITE, TRAFFIC_SIGN)
        card.limb((-0.25 * size, height), (0.25 * size, height), (0.25, 0.25), BLACK, TRAFFIC_SIGN)
    elif kind == 'blue':
        card.disc(centre, size, BLUE, TRAFFIC_SIGN)
        card.limb((0, height - 0.6 * size), (0, height + 0.6 * size), (0.13, 0.13), WHITE,
                  TRAFFIC_SIGN)  # fmt: skip
    elif kind == 'triangle':
        shape = np.array([[-1.1, -0.7], [0.0, 1.2], [1.1, -0.7]]) * size
        card.polygon(shape + centre, RED, TRAFFIC_SIGN)
        card.polygon(0.58 * shape + centre, WHITE, TRAFFIC_SIGN)
    elif kind == 'stop':
        card.disc(centre, 1.05 * size, RED, TRAFFIC_SIGN, corners=8)
        card.limb((-0.6 * size, height), (0.6 * size, height), (0.22, 0.22), WHITE, TRAFFIC_SIGN)
    elif kind == 'diamond':
        shape = np.array([[0.0, 1.15], [1.15, 0.0], [0.0, -1.15], [-1.15, 0.0]]) * size
        card.polygon(shape + centre, WHITE, TRAFFIC_SIGN)
        card.polygon(0.75 * shape + centre, YELLOW, TRAFFIC_SIGN)
    else:
        tone = pick(rng, (BLUE, GREEN, WHITE, YELLOW))
        text = BLACK if tone[1] > 0.5 else WHITE
        shape = np.array([[-1.8, -0.9], [-1.8, 0.9], [1.8, 0.9], [1.8, -0.9]]) * size
        card.polygon(shape + centre, tone, TRAFFIC_SIGN)
        for line in (-0.35, 0.3):
            y = height + line * size
            card.limb((-1.4 * size, y), (rng.uniform(0.2, 1.4) * size, y), (0.14, 0.14), text,
                      TRAFFIC_SIGN)  # fmt: skip


def paint_wall(
    painter: Painter, rng: np.random.Generator, x: float, start: float, end: float, height: float
) -> None:
    """Paint a free-standing wall along the street: plaster, concrete or stone blocks."""
    detail = float(np.clip(painter.camera.metres(1.0, max(start, abs(x))), 3, 20))
    rows, columns = max(int(height * detail), 6), max(int((end - start) * detail), 6)
    base = np.array(
        [(0.62, 0.58, 0.50), (0.55, 0.55, 0.55), (0.50, 0.36, 0.28), (0.74, 0.70, 0.62)]
    )
    colour = pick(rng, base) * rng.uniform(0.75, 1.15)
    level = 0.8 + 0.4 * fractal(rng, rows, columns, cells=3, octaves=5)
    if rng.random() < 0.6:
        y, u = np.arange(rows)[:, None] / detail, np.arange(columns)[None, :] / detail
        course = np.floor(y / 0.5)
        joint = (y % 0.5 < 0.08) | ((u + 0.45 * (course % 2)) % 0.9 < 0.08)
        level = level * np.where(joint, 0.72, 1.0)
    level *= np.linspace(1.05, 0.8, rows)[:, None]
    level[: max(int(0.18 * detail), 1)] *= 1.25  # coping
    albedo = (level[..., None] * colour).astype(np.float32)
    if rng.random() < 0.35:
        _graffiti(rng, albedo)
    quad = np.array([[x, height, start], [x, height, end], [x, 0, end], [x, 0, start]])
    painter.texture(quad, albedo, WALL, np.array([-np.sign(x), 0.0, 0.0]))
    outer = x + np.sign(x) * 0.35
    stub = np.array([[x, height, start], [outer, height, start], [outer, 0, start], [x, 0, start]])
    painter.polygon(stub, colour * 0.9, WALL, np.array([0.0, 0.0, -1.0]))


def _graffiti(rng: np.random.Generator, albedo: np.ndarray) -> None:
    """Spray bright blobs onto a wall."""
    rows, columns = albedo.shape[:2]
    for _ in range(int(rng.integers(2, 6))):
        field = fractal(rng, rows, columns, cells=3, octaves=3)
        centre = rng.uniform(0, columns)
        window = np.exp(-(((np.arange(columns) - centre) / (0.8 * rows)) ** 2))
        albedo[field * window > 0.55] = rng.uniform(0.05, 0.95, 3)


def paint_fence(
    painter: Painter, rng: np.random.Generator, x: float, start: float, end: float, height: float
) -> None:
    """Paint a fence along the street: pickets, rails or wire mesh, with gaps to look through."""
    detail = float(np.clip(painter.camera.metres(1.0, max(start, abs(x))), 5, 24))
    rows, columns = max(int(height * detail), 8), max(int((end - start) * detail), 8)
    y = np.arange(rows)[:, None] / detail
    u = np.arange(columns)[None, :] / detail
    kind = pick(rng, ('pickets', 'bars', 'rails'))
    posts = (u % 2.4 < 0.16) & (y >= 0)
    if kind == 'pickets':
        solid = (u % 0.24 < 0.16) | (np.abs(y - 0.3 * height) < 0.06) | posts
        colour = np.array(pick(rng, [(0.82, 0.80, 0.74), (0.46, 0.33, 0.22), (0.60, 0.48, 0.34)]))
    elif kind == 'bars':
        solid = (u % 0.30 < 0.10) | (y < 0.10) | (np.abs(y - 0.85 * height) < 0.05) | posts
        colour = np.array(pick(rng, [(0.12, 0.13, 0.13), (0.22, 0.32, 0.26), (0.5, 0.5, 0.5)]))
    else:
        solid = (np.abs((y % 0.38) - 0.19) < 0.09) | posts
        colour = np.array(pick(rng, [(0.60, 0.61, 0.62), (0.50, 0.38, 0.26), (0.78, 0.77, 0.74)]))
    level = (0.85 + 0.3 * rng.random((1, columns))) * np.ones((rows, 1))
    level = np.where(posts, 0.8, level)
    albedo = (level[..., None] * colour * rng.uniform(0.8, 1.1)).astype(np.float32)
    quad = np.array([[x, height, start], [x, height, end], [x, 0, end], [x, 0, start]])
    facing = np.array([-np.sign(x), 0.0, 0.0])
    painter.texture(quad, albedo, FENCE, facing, alpha=solid.astype(np.float32))
