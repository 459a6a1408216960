"""The ground: bands of road, sidewalk and grass, their markings, wear and shadows.

The ground is computed per pixel from the (x, z) that the pixel shows, so that bends, markings and
textures come out in exact perspective. Colours lie channel first, ``(3, h, w)``, which numpy works
through several times faster than channel last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from toy_data.brushes.chance import pick
from toy_data.brushes.noise import fractal, sample
from toy_data.streets.classes import ROAD, SIDEWALK, TERRAIN
from toy_data.streets.painter import Colour, Painter


@dataclass(frozen=True)
class Street:
    """The plan of a street. All lengths in metres, sides mirrored.

    Args:
        half_road (float): From the centre line to the kerb.
        lanes (int): Lanes in each direction, parking included.
        verge (float): Width of the grass strip between kerb and sidewalk, 0 for none.
        walk (float): Width of the sidewalk, 0 for none.
        front (float): From the centre line to the building line.
        grassy (bool): Whether the land beyond the sidewalk is grass; paved otherwise.
        crossing (float | None): Distance of a side street, None for none.
        side_road (float): Width of the side street.
    """

    half_road: float
    lanes: int
    verge: float
    walk: float
    front: float
    grassy: bool
    crossing: float | None
    side_road: float = 8.0

    @property
    def kerb(self) -> float:
        """From the centre line to the inner edge of the sidewalk."""
        return self.half_road + self.verge

    @property
    def border(self) -> float:
        """From the centre line to the outer edge of the sidewalk."""
        return self.kerb + self.walk

    def blocked(self, start: float, end: float) -> bool:
        """Whether the stretch of roadside from start to end meets the side street."""
        if self.crossing is None:
            return False
        return end > self.crossing - 2.5 and start < self.crossing + self.side_road + 2.5


@dataclass
class Shade:
    """What stands between the sun (or the lamps) and the ground.

    Args:
        skyline (dict): side (-1 or 1) -> ``(n,)`` heights of the building line, metre by metre.
        blobs (list): ``(k, 2)`` polygons of (x, z) on the ground that lie in cast shadow.
        contact (list): ``(k, 2)`` polygons right under things: dark in any light.
        lamps (list): (x, z) of the street lamps.
    """

    skyline: dict[int, np.ndarray] = field(default_factory=dict)
    blobs: list[np.ndarray] = field(default_factory=list)
    contact: list[np.ndarray] = field(default_factory=list)
    lamps: list[tuple[float, float]] = field(default_factory=list)


def paint_ground(painter: Painter, rng: np.random.Generator, street: Street, shade: Shade) -> None:
    """Paint everything below the horizon as if nothing stood on it."""
    first, x, z = painter.camera.ground()
    label = _bands(street, x, z)
    fine, coarse = fractal(rng, 256, 256, cells=64, octaves=2), fractal(rng, 256, 256, cells=6)
    # Detail finer than a pixel would alias; it fades out with distance instead.
    near = np.clip(14 / z, 0, 1)
    grit = (sample(fine, x * 40, z * 40) - 0.5) * near
    patch = sample(coarse, x * 5 + 90, z * 5)
    broad = sample(coarse, x * 1.3, z * 1.3 + 40) - 0.5
    albedo = np.empty((3, *x.shape), np.float32)
    for what, surface in ((ROAD, _asphalt), (SIDEWALK, _paving), (TERRAIN, _grass)):
        here = label == what
        if here.any():
            albedo[:, here] = surface(rng, street, x[here], z[here], grit[here], patch[here],
                                   broad[here], near[here])  # fmt: skip
    value = albedo * _light_on_ground(painter, street, shade, first, x, z)
    value = _wet_road(painter, value, label, patch, z)
    painter.colour[first:] = value.transpose(1, 2, 0)
    painter.label[first:] = label
    painter.depth[first:] = z


def _bands(street: Street, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """trainId of each ground point: ``(h, w)`` -> ``(h, w)`` uint8."""
    across = np.abs(x)
    label = np.full(x.shape, TERRAIN if street.grassy else SIDEWALK, np.uint8)
    label[across < street.border] = SIDEWALK
    label[across < street.kerb] = TERRAIN
    if street.crossing is not None:
        offset = z - street.crossing - street.side_road / 2
        label[np.abs(offset) < street.side_road / 2 + 2.0] = SIDEWALK
        label[np.abs(offset) < street.side_road / 2] = ROAD
    label[across < street.half_road] = ROAD
    return label


def _asphalt(
    rng: np.random.Generator, street: Street, x: np.ndarray, z: np.ndarray, grit: np.ndarray,
    patch: np.ndarray, broad: np.ndarray, near: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Albedo ``(3, n)`` of the road: grey with wheel tracks, repairs and paint."""
    grey = rng.uniform(0.34, 0.56)
    tint = rng.uniform(0.95, 1.05, 3).astype(np.float32)
    width = street.half_road / street.lanes
    tracks = 0.05 * np.cos(2 * np.pi * (x / width) * 2)
    level = grey * (1 + 0.3 * grit + 0.35 * broad + tracks)
    level = np.where(patch > 0.72, level * rng.uniform(0.75, 0.92), level)
    albedo = level * tint[:, None]
    paint = np.clip(_markings(rng, street, x, z) * (0.65 + 0.5 * patch + grit), 0, 0.95)
    return albedo + paint * (np.float32([[0.86], [0.86], [0.82]]) - albedo)


def _markings(rng: np.random.Generator, street: Street, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Where paint lies on the road: ``(n,)``, 1 for fresh paint."""
    across, width = np.abs(x), street.half_road / street.lanes
    dashed = (z + rng.uniform(0, 6)) % 6 < 3
    along = np.zeros(x.shape, bool)
    for lane in range(street.lanes):
        line = np.abs(across - lane * width) < 0.09
        # The centre line is solid now and then, the lines between lanes are dashed.
        along |= line if lane == 0 and rng.random() < 0.3 else line & dashed
    if rng.random() < 0.6:
        along |= np.abs(across - street.half_road + 0.35) < 0.07
    if street.crossing is None:
        return along.astype(np.float32)
    start, end = street.crossing, street.crossing + street.side_road
    along &= (z < start - 4.5) | (z > end + 4.5)
    zebra = ((z > start - 3.7) & (z < start - 0.7)) | ((z > end + 0.7) & (z < end + 3.7))
    zebra &= (across < street.half_road - 0.2) & ((x + 50) % 1.1 < 0.55)
    stop = (z > start - 5.0) & (z < start - 4.5) & (x > 0.2) & (across < street.half_road - 0.2)
    return (along | zebra | stop).astype(np.float32)


def _paving(
    rng: np.random.Generator, street: Street, x: np.ndarray, z: np.ndarray, grit: np.ndarray,
    patch: np.ndarray, broad: np.ndarray, near: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Albedo ``(3, n)`` of the sidewalk: slabs with joints, a bright kerb stone."""
    warm = rng.uniform(-0.06, 0.10)
    base = rng.uniform(0.38, 0.62) * np.float32([1 + warm, 1.0, 1 - warm])
    slab = pick(rng, (0.5, 0.8, 1.2))
    joint = (((x + 50) % slab < 0.05) | (z % slab < 0.05)) * near * 0.35
    # A cheap hash gives every slab its own tone.
    tone = np.modf(np.sin(np.floor((x + 50) / slab) * 12.99 + np.floor(z / slab) * 78.2) * 437.6)
    level = 1 + 0.35 * grit + 0.3 * broad + 0.12 * tone[0] * near - joint
    stone = np.abs(np.abs(x) - street.half_road - 0.12) < 0.12
    level = np.where(stone, level * 0.9 + 0.3, level)
    return level * base[:, None]


def _grass(
    rng: np.random.Generator, street: Street, x: np.ndarray, z: np.ndarray, grit: np.ndarray,
    patch: np.ndarray, broad: np.ndarray, near: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Albedo ``(3, n)`` of grass: fresh green to dry straw, bare soil where it is worn."""
    fresh, dry = np.float32([[0.26], [0.40], [0.13]]), np.float32([[0.52], [0.48], [0.24]])
    soil = np.float32([[0.42], [0.33], [0.23]])
    season = rng.beta(1.2, 2.0)
    mix = np.clip(season + 0.9 * (patch - 0.5) + 0.6 * broad, 0, 1)
    albedo = fresh + mix * (dry - fresh)
    worn = np.clip((patch - rng.uniform(0.62, 0.95)) / 0.1, 0, 0.9)
    albedo = albedo + worn * (soil - albedo)
    return albedo * (1 + 0.9 * grit + 0.25 * broad)


def _light_on_ground(
    painter: Painter, street: Street, shade: Shade, first: int, x: np.ndarray, z: np.ndarray
) -> np.ndarray:
    """Light that arrives at each ground point, ``(3, h, w)``."""
    light = painter.light
    shadow = _building_shadow(painter, street, shade, x, z)
    shadow = np.maximum(shadow, _fill(painter, shade.blobs, first))
    shadow = cv2.GaussianBlur(shadow, (0, 0), max(painter.camera.height / 350, 0.6))
    direct = _channels(light.sun * max(float(light.towards[1]), 0.0))
    arriving = _channels(light.ambient) + (1 - shadow) * direct
    occlusion = _fill(painter, shade.contact, first)
    occlusion = cv2.GaussianBlur(occlusion, (0, 0), max(painter.camera.height / 120, 0.8))
    arriving = arriving * (1 - 0.62 * occlusion)
    if light.lamps:
        pools = np.zeros_like(x)
        for lamp_x, lamp_z in shade.lamps:
            pools += np.exp(-((x - lamp_x) ** 2 + (z - lamp_z) ** 2) / 22.0)
        arriving = arriving + 0.75 * np.minimum(pools, 1.2) * _channels([1, 0.8, 0.5])
    return arriving


def _building_shadow(
    painter: Painter, street: Street, shade: Shade, x: np.ndarray, z: np.ndarray
) -> np.ndarray:
    """Shadow of the building line: 1 where the way to the sun runs into a facade."""
    sun_x, sun_y, sun_z = painter.light.towards
    side = 1 if sun_x > 0 else -1
    heights = shade.skyline.get(side)
    if heights is None or abs(sun_x) < 0.05:
        return np.zeros_like(x)
    steps = np.abs(street.front - side * x) / abs(sun_x)
    at = np.clip(z + steps * sun_z, 0, len(heights) - 1).astype(np.int32)
    return (heights[at] > steps * sun_y).astype(np.float32)


def _fill(painter: Painter, polygons: Sequence[np.ndarray], first: int) -> np.ndarray:
    """Mask of some polygons on the ground: ``(k, 2)`` of (x, z) -> ``(h, w)`` float32."""
    mask = np.zeros((painter.camera.height - first, painter.camera.width), np.float32)
    for polygon in polygons:
        world = np.stack([polygon[:, 0], np.zeros(len(polygon)), polygon[:, 1]], axis=1)
        corners = painter.camera.project(world) - np.array([0, first])
        fixed = np.clip(np.round(corners * 16), -1 << 24, 1 << 24).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 1.0, cv2.LINE_8, 4)
    return mask


def _wet_road(
    painter: Painter, value: np.ndarray, label: np.ndarray, patch: np.ndarray, z: np.ndarray
) -> np.ndarray:
    """Mix the sky into wet parts of the road, more so at a flat angle."""
    if painter.light.wet < 0.05:
        return value
    wet = painter.light.wet * np.clip(1.6 * patch - 0.3, 0, 1) * np.clip(z / 18, 0.15, 0.8)
    wet = np.where(label == TERRAIN, np.float32(0), wet)
    return value * (1 - 0.25 * painter.light.wet) + wet * (
        0.8 * _channels(painter.light.horizon) - value
    )


def _channels(colour: Colour) -> np.ndarray:
    """A colour ``(3,)`` as ``(3, 1, 1)`` float32, to go with ``(h, w)`` fields."""
    return np.asarray(colour, np.float32)[:, None, None]
