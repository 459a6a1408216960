"""Buildings: facades with windows and shops, pitched roofs, and the skyline in the distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toy_data.brushes.chance import pick
from toy_data.brushes.noise import fractal
from toy_data.streets.classes import BUILDING, VEGETATION
from toy_data.streets.painter import Painter

PLASTER = np.array([
    (.82, .78, .68), (.74, .62, .48), (.62, .34, .26), (.52, .42, .36), (.66, .66, .66),
    (.86, .84, .80), (.78, .58, .42), (.44, .48, .54), (.56, .60, .48), (.80, .70, .52),
    (.36, .34, .34), (.62, .70, .76), (.70, .44, .36), (.88, .80, .58),
])  # fmt: skip
ROOFS = np.array([(0.52, 0.26, 0.18), (0.34, 0.30, 0.30), (0.44, 0.34, 0.28), (0.28, 0.30, 0.36)])
LAMPLIGHT = np.array([1.25, 0.95, 0.55])


@dataclass(frozen=True)
class Building:
    """A box along the street.

    Args:
        side (int): -1 left, 1 right of the road.
        front (float): From the centre line to the facade in metres.
        start (float): z of the near end.
        end (float): z of the far end.
        height (float): Height of the facade in metres.
        roof (float): Rise of a pitched roof in metres, 0 for a flat roof.
        kind (str): ``'plaster'``, ``'brick'`` or ``'glass'``.
        flush (bool): Whether a nearer building hides the end wall.
    """

    side: int
    front: float
    start: float
    end: float
    height: float
    roof: float
    kind: str
    flush: bool


def paint_building(painter: Painter, rng: np.random.Generator, building: Building) -> None:
    """Paint the two faces of a building that the camera can see, and its roof."""
    side, near, far = building.side, max(building.start, 1.0), building.end
    depth = rng.uniform(8, 14)
    inner, outer = side * building.front, side * (building.front + depth)
    base = np.clip(pick(rng, PLASTER) * rng.uniform(0.7, 1.12, 3)
                   * rng.uniform(0.8, 1.1), 0.05, 0.95)  # fmt: skip
    if building.kind == 'brick':
        base = np.array([0.50, 0.28, 0.20]) * rng.uniform(0.75, 1.3) * rng.uniform(0.9, 1.1, 3)
    # Texture pixels per metre follow what the camera resolves at the near end, aslant.
    detail = float(np.clip(0.4 * painter.camera.metres(1.0, max(near, building.front)), 4, 40))
    roof = pick(rng, ROOFS) * rng.uniform(0.8, 1.2)
    top = building.height

    end_wall = np.array(
        [[inner, top, near], [outer, top, near], [outer, 0, near], [inner, 0, near]]
    )
    facing = np.array([0.0, 0.0, -1.0])
    windows = bool(rng.random() < 0.5)
    if not building.flush and painter.shows(end_wall):
        albedo, glow = facade(rng, painter, building, base, depth, detail, windows)
        painter.texture(end_wall, albedo, BUILDING, facing, glow)

    front_wall = np.array(
        [[inner, top, near], [inner, top, far], [inner, 0, far], [inner, 0, near]]
    )
    facing = np.array([-side * 1.0, 0.0, 0.0])
    if painter.shows(front_wall):
        albedo, glow = facade(rng, painter, building, base, far - near, detail, windows=True)
        painter.texture(front_wall, albedo, BUILDING, facing, glow)
    if building.roof > 0:
        _paint_roof(painter, building, base, roof, near, depth)


def _paint_roof(
    painter: Painter, building: Building, wall: np.ndarray, tiles: np.ndarray, near: float,
    depth: float,
) -> None:  # fmt: skip
    """Paint a pitched roof: the gable above the end wall, the slope above the facade."""
    side, top = building.side, building.height
    inner, outer = side * (building.front - 0.3), side * (building.front + depth)
    ridge = side * (building.front + depth / 2)
    peak = top + building.roof
    gable = np.array([[inner, top, near], [ridge, peak, near], [outer, top, near]])
    painter.polygon(gable, wall, BUILDING, np.array([0.0, 0.0, -1.0]))
    slope = np.array([[inner, top, near], [ridge, peak, near], [ridge, peak, building.end],
                      [inner, top, building.end]])  # fmt: skip
    normal = np.array([-side * building.roof, depth / 2, 0.0])
    if normal @ painter.camera.view(slope).mean(0) < 0:
        painter.polygon(slope, tiles, BUILDING, normal / np.linalg.norm(normal))


def facade(
    rng: np.random.Generator, painter: Painter, building: Building, base: np.ndarray,
    width: float, detail: float, windows: bool,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Draw a wall.

    Args:
        rng (np.random.Generator): Source of randomness.
        painter (Painter): For the light: glass mirrors the sky, lamps are on or off.
        building (Building): Height and kind.
        base (np.ndarray): ``(3,)`` albedo of the wall.
        width (float): Metres.
        detail (float): Pixels per metre.
        windows (bool): Whether the wall has any.

    Returns:
        tuple[np.ndarray, np.ndarray]: Albedo ``(h, w, 3)`` and glow ``(h, w)``, both float32.
    """
    rows, columns = max(int(building.height * detail), 8), max(int(width * detail), 8)
    stain = fractal(rng, rows, columns, cells=3, octaves=4) - 0.5
    level = 1 + 0.28 * stain
    if building.kind == 'brick' and detail > 6:
        level *= _bricks(rows, columns, detail)
    # Walls are darker towards the ground: dirt, and less open sky.
    level *= np.linspace(1.06, 0.86, rows, dtype=np.float32)[:, None]
    albedo = (level[..., None] * base).astype(np.float32)
    glow = np.zeros((rows, columns), np.float32)
    if building.kind == 'glass':
        _curtain_wall(rng, painter, albedo, glow, detail)
    elif windows:
        _windows(rng, painter, building, base, albedo, glow, detail)
    albedo[: max(int(0.35 * detail), 1)] *= pick(rng, (0.7, 1.2))  # cornice
    return np.clip(albedo, 0.02, 1.3), glow


def _bricks(rows: int, columns: int, detail: float) -> np.ndarray:
    """Mortar joints as a factor ``(rows, columns)``: courses of 0.3 m, half a brick offset."""
    y = np.arange(rows)[:, None] / detail
    x = np.arange(columns)[None, :] / detail + 0.3 * (np.floor(y / 0.3) % 2)
    joint = ((y % 0.3) < 0.07) | ((x % 0.6) < 0.07)
    return np.where(joint, 1.22, 1.0).astype(np.float32)


def _windows(
    rng: np.random.Generator, painter: Painter, building: Building, base: np.ndarray,
    albedo: np.ndarray, glow: np.ndarray, detail: float,
) -> None:  # fmt: skip
    """Cut rows of windows into a wall, and shops or doors into the ground floor."""
    rows, columns = glow.shape
    floor, bay = rng.uniform(2.9, 3.6), rng.uniform(2.0, 3.4)
    share = (rng.uniform(0.38, 0.62), rng.uniform(0.42, 0.60))
    frame = np.clip(base * pick(rng, (0.6, 1.35)) + pick(rng, (0.0, 0.15)), 0, 1)
    shops = rng.random() < (0.55 if building.roof == 0 else 0.1)
    # Rows of windows are counted from the ground, as floors are.
    for storey in range(int(building.height / floor)):
        bottom = rows - (storey + 0.28) * floor * detail
        top = bottom - share[1] * floor * detail
        if storey == 0 and shops:
            _shop(rng, painter, albedo, glow, detail, floor)
            continue
        for index in range(max(int(columns / detail / bay), 1)):
            middle = (index + 0.5) * columns / max(int(columns / detail / bay), 1)
            half = share[0] * bay * detail / 2
            box = _box(top, bottom, middle - half, middle + half)
            rim = max(0.12 * detail, 0.6)
            albedo[_box(top - rim, bottom + rim, middle - half - rim, middle + half + rim)] = frame
            pane, shines = _pane(rng, painter)
            glow[box] = shines
            albedo[box] = pane
            if detail > 8 and not shines:
                lower = _box((top + bottom) / 2, bottom, middle - half, middle + half)
                albedo[lower] = pane * 0.72
                albedo[_box(top, bottom, middle - 0.04 * detail, middle + 0.04 * detail)] = frame


def _shop(
    rng: np.random.Generator, painter: Painter, albedo: np.ndarray, glow: np.ndarray,
    detail: float, floor: float,
) -> None:  # fmt: skip
    """Fill the ground floor with shop windows under an awning."""
    rows, columns = glow.shape
    width = rng.uniform(4, 7) * detail
    for left in np.arange(0.3 * detail, columns - width * 0.5, width):
        right = left + width * 0.9
        colour = rng.uniform(0.1, 0.85, 3)
        albedo[_box(rows - floor * detail, rows - 0.74 * floor * detail, left, right)] = colour
        box = _box(rows - 0.74 * floor * detail, rows - 0.12 * floor * detail, left, right)
        lit = painter.light.lamps and rng.random() < 0.8
        albedo[box] = LAMPLIGHT * rng.uniform(0.8, 1.2) if lit else _pane(rng, painter)[0]
        glow[box] = float(lit)
        door = left + rng.uniform(0.1, 0.7) * width
        albedo[_box(rows - 0.7 * floor * detail, rows, door, door + 1.1 * detail)] = colour * 0.5


def _curtain_wall(
    rng: np.random.Generator, painter: Painter, albedo: np.ndarray, glow: np.ndarray, detail: float
) -> None:
    """Turn a wall into panes of glass between thin frames."""
    rows, columns = glow.shape
    bay, floor = rng.uniform(1.3, 2.2) * detail, rng.uniform(2.6, 3.4) * detail
    for bottom in np.arange(rows, 0, -floor):
        for left in np.arange(0, columns, bay):
            pane, shines = _pane(rng, painter)
            box = _box(bottom - 0.86 * floor, bottom, left + 0.08 * bay, left + 0.96 * bay)
            # Glass fronts mirror the sky more than a window in a wall does.
            albedo[box] = pane if shines else 0.55 * pane + 0.3 * painter.light.zenith
            glow[box] = shines


def _pane(rng: np.random.Generator, painter: Painter) -> tuple[np.ndarray, float]:
    """Albedo ``(3,)`` and glow of one window: dark, mirroring, curtained, or lit at night."""
    if painter.light.lamps and rng.random() < 0.42:
        return LAMPLIGHT * rng.uniform(0.5, 1.1) * rng.uniform(0.92, 1.08, 3), 1.0
    mirror = rng.uniform(0.0, 0.45)
    dark = np.array([0.13, 0.16, 0.20]) * rng.uniform(0.6, 1.5)
    if rng.random() < 0.15:
        return np.array([0.62, 0.60, 0.56]) * rng.uniform(0.6, 1.1), 0.0
    return dark * (1 - mirror) + painter.light.zenith * mirror, 0.0


def _box(top: float, bottom: float, left: float, right: float) -> tuple[slice, slice]:
    """Slices of a rectangle in texture pixels, cut off at the edges of the wall."""
    rows = slice(max(round(top), 0), max(round(bottom), 0))
    return rows, slice(max(round(left), 0), max(round(right), 0))


def paint_skyline(painter: Painter, rng: np.random.Generator, urban: float) -> None:
    """Paint what closes the view at the horizon: far blocks, then a line of woods and hills.

    Args:
        painter (Painter): Paints.
        rng (np.random.Generator): Source of randomness.
        urban (float): Share of the horizon that is built up, 0 to 1.
    """
    distance = 210.0
    reach = 1.1 * distance * painter.camera.width / painter.camera.focal
    bend = float(painter.camera.shift(np.float64(distance)))
    left = painter.camera.lane - bend - reach / 2
    knots = np.linspace(0, reach, 90)
    woods = 3 + 9 * fractal(rng, 2, 90, cells=0.25, octaves=5)[0]
    crest = np.stack([left + knots, woods, np.full(90, distance)], axis=1)
    feet = crest[[-1, 0]] * np.array([1, 0, 1])
    green = np.array([0.20, 0.27, 0.14]) * rng.uniform(0.8, 1.3)
    painter.polygon(np.concatenate([crest, feet]), green, VEGETATION)
    at = 0.0
    while at < reach:
        width, height = rng.uniform(10, 26), rng.uniform(7, 16 + 18 * urban)
        if rng.random() < urban:
            x, tone = left + at, pick(rng, PLASTER) * rng.uniform(0.6, 1.0)
            block = [[x, 0, 190], [x, height, 190], [x + width, height, 190], [x + width, 0, 190]]
            painter.polygon(np.array(block, float), tone, BUILDING)
        at += width * rng.uniform(0.8, 1.3)
