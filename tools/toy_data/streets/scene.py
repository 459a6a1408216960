"""A random street: what stands where, painted from far to near."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from toy_data.brushes.chance import pick
from toy_data.streets.buildings import Building, paint_building, paint_skyline
from toy_data.streets.camera import Camera
from toy_data.streets.furniture import (
    paint_fence,
    paint_lamp,
    paint_sign,
    paint_traffic_light,
    paint_wall,
)
from toy_data.streets.ground import Shade, Street, paint_ground
from toy_data.streets.lens import SUPERSAMPLING, develop, paint_bonnet
from toy_data.streets.light import random_light
from toy_data.streets.painter import Painter
from toy_data.streets.people import paint_bicycle, paint_person, paint_rider
from toy_data.streets.plants import paint_bush, paint_hedge, paint_tree
from toy_data.streets.sky import paint_sky
from toy_data.streets.vehicles import paint_bus, paint_car, paint_truck

SIGHT = 115.0
"""Distance in metres beyond which nothing but the skyline is painted."""

KINDS = ('plaster', 'brick', 'glass')
TREES = ('round', 'slim', 'conifer')
# What drives, its length and width in metres.
TRAFFIC = (
    (paint_car, 4.5, 1.8), (paint_truck, 8.5, 2.5), (paint_bus, 12.0, 2.5), (paint_rider, 1.8, 0.6),
)  # fmt: skip
TRAFFIC_CHANCES = (0.70, 0.11, 0.10, 0.09)


@dataclass(frozen=True)
class Style:
    """What a kind of district looks like. Pairs are the limits of a uniform draw.

    Args:
        lanes (tuple[int, ...]): Possible lanes per direction.
        verge (tuple[float, float]): Width of the grass strip along the kerb in metres.
        walk (tuple[float, float]): Width of the sidewalk in metres.
        yard (tuple[float, float]): From the sidewalk to the building line in metres.
        grassy (bool): Whether yards are grass.
        built (float): Share of the building line that carries buildings.
        storeys (tuple[float, float]): Height of the buildings in metres.
        pitched (float): Share of buildings with a pitched roof.
        trees (float): Chance of a tree at each place for one.
        edging (float): Chance of a wall, fence or hedge along each stretch of yard.
        people (float): Mean number of people on the sidewalks.
        traffic (float): Chance of a vehicle at each place for one.
    """

    lanes: tuple[int, ...]
    verge: tuple[float, float]
    walk: tuple[float, float]
    yard: tuple[float, float]
    grassy: bool
    built: float
    storeys: tuple[float, float]
    pitched: float
    trees: float
    edging: float
    people: float
    traffic: float


STYLES = {
    "downtown": Style((1, 2), (0, 0), (2.6, 4.5), (0.0, 0.3), False, 0.95, (9, 24), 0.1, 0.25,
                      0.05, 11, 0.62),
    "avenue": Style((2,), (1.2, 3.0), (2.2, 3.5), (1.0, 4.0), True, 0.82, (9, 18), 0.25, 0.75,
                    0.40, 7, 0.55),
    "suburb": Style((1,), (0, 1.6), (1.6, 2.4), (3.0, 7.0), True, 0.68, (4, 7.5), 0.85, 0.45,
                    0.75, 4, 0.45),
    "outskirts": Style((1, 2), (0.8, 2.5), (1.4, 2.4), (5.0, 11.0), True, 0.30, (4, 11), 0.4,
                       0.50, 0.60, 3, 0.35),
}  # fmt: skip
"""District -> style. A set files its images under these names, as Cityscapes does by city."""


class Scene:
    """A street in the making: collects things with their distance, then paints them in order.

    Args:
        rng (np.random.Generator): Source of all randomness of this street.
        style (Style): The district.
        painter (Painter): Paints.
    """

    def __init__(self, rng: np.random.Generator, style: Style, painter: Painter) -> None:
        self.rng, self.style, self.painter = rng, style, painter
        self.street = _random_street(rng, style)
        self.shade = Shade()
        self.things: list[tuple[float, Callable[[], None]]] = []

    def add(self, distance: float, paint: Callable, *args: object) -> None:
        """Put a thing on the list: ``paint(painter, rng, *args)``; farther things go first."""
        self.things.append((distance, partial(paint, self.painter, self.rng, *args)))

    def stand(self, paint: Callable, x: float, z: float, reach: float, *args: object) -> None:
        """Put a thing at a place, ``paint(painter, rng, x, z, *args)``, if the camera sees it.

        Args:
            paint (Callable): Paints the thing.
            x (float): Position in metres.
            z (float): Position in metres.
            reach (float): How far the thing extends to either side in metres.
            args (object): Further arguments of ``paint``.
        """
        if self.painter.camera.sees(x, z, reach):
            self.add(z, paint, x, z, *args)

    def paint(self) -> None:
        """Paint sky, skyline, ground, and then all things from far to near."""
        paint_sky(self.painter, self.rng)
        paint_skyline(self.painter, self.rng, 0.75 * self.style.built)
        paint_ground(self.painter, self.rng, self.street, self.shade)
        for _, thing in sorted(self.things, key=lambda pair: -pair[0]):
            thing()

    def cast(self, x: float, z: float, wide: float, tall: float) -> None:
        """Note the shadow of something slim or round: a streak from its foot, away from the sun.

        Args:
            x (float): Position in metres.
            z (float): Position in metres.
            wide (float): Width in metres.
            tall (float): Height in metres.
        """
        towards = self.painter.light.towards
        flat = float(np.hypot(towards[0], towards[2]))
        reach = min(tall * flat / max(towards[1], 0.12), 30.0)
        along = -np.array([towards[0], towards[2]]) / max(flat, 1e-6)
        side = np.array([-along[1], along[0]]) * wide / 2
        foot = np.array([x, z])
        tip = foot + reach * along
        self.shade.blobs.append(np.array([foot + side, tip + side, tip - side, foot - side]))

    def cast_crown(self, x: float, z: float, wide: float, low: float, high: float) -> None:
        """Note the shadow of a crown between the heights ``low`` and ``high``: an oval."""
        towards = self.painter.light.towards
        slope = -np.array([towards[0], towards[2]]) / max(towards[1], 0.2)
        angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        ring = np.stack([np.cos(angle), np.sin(angle)], axis=1) * wide / 2
        stretch = (ring @ slope)[:, None] * slope * 0.5 * (high - low) / max(wide, 0.1)
        ragged = self.rng.uniform(0.8, 1.1, (20, 1))
        centre = np.array([x, z]) + slope * (low + high) / 2
        self.shade.blobs.append(centre + (ring + stretch) * ragged)


def draw_scene(
    rng: np.random.Generator, district: str, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one street.

    Args:
        rng (np.random.Generator): Source of all randomness.
        district (str): A key of `STYLES`.
        size (tuple[int, int]): Height and width of the picture in pixels.

    Returns:
        tuple[np.ndarray, np.ndarray]: RGB image ``(h, w, 3)`` and trainIds ``(h, w)``, both uint8.
    """
    light = random_light(rng)
    painter = Painter(_random_camera(rng, size), light)
    scene = Scene(rng, STYLES[district], painter)
    for side in (-1, 1):
        _add_building_line(scene, side)
        _add_edging(scene, side)
        _add_trees(scene, side)
        _add_furniture(scene, side)
        _add_sidewalk_life(scene, side)
        _add_parked(scene, side)
    _add_traffic(scene)
    _add_crossing_life(scene)
    scene.paint()
    if rng.random() < 0.4:
        paint_bonnet(painter, rng)
    return develop(painter, rng)


def _random_camera(rng: np.random.Generator, size: tuple[int, int]) -> Camera:
    """A camera behind some windscreen, on the right half of the road."""
    height, width = (length * SUPERSAMPLING for length in size)
    return Camera(
        height=height,
        width=width,
        focal=rng.uniform(0.58, 0.80) * max(height, width),
        horizon=rng.uniform(0.42, 0.52) * height,
        centre=rng.uniform(0.42, 0.58) * width,
        eye=rng.uniform(1.5, 2.4),
        lane=rng.uniform(0.6, 2.0),
        bend=pick(rng, (0.0, rng.uniform(-0.0024, 0.0024))),
    )


def _random_street(rng: np.random.Generator, style: Style) -> Street:
    """The plan of a street in a district."""
    lanes = pick(rng, style.lanes) + 1  # the outermost lane is for parking
    half_road = 3.2 * (lanes - 1) + rng.uniform(1.9, 2.3)
    verge, walk = rng.uniform(*style.verge), rng.uniform(*style.walk)
    crossing = rng.uniform(12, 34) if rng.random() < 0.45 else None
    return Street(
        half_road=half_road,
        lanes=lanes,
        verge=verge,
        walk=walk,
        front=half_road + verge + walk + rng.uniform(*style.yard),
        grassy=style.grassy,
        crossing=crossing,
        side_road=rng.uniform(6, 9),
    )


def _add_building_line(scene: Scene, side: int) -> None:
    """Line one side of the street with buildings, trees in the gaps between them."""
    rng, style, street = scene.rng, scene.style, scene.street
    skyline = np.zeros(int(SIGHT) + 60)
    start, neighbour = rng.uniform(-4, 4), (-np.inf, 0.0)  # end and height of the last building
    while start < SIGHT:
        detached = style.pitched > 0.5
        length = rng.uniform(8, 12) if detached else rng.uniform(9, 20)
        end = start + length
        if street.blocked(start, end):
            start = street.crossing + street.side_road + rng.uniform(2.5, 4)
            if end > start + SIGHT:
                break
            end = start + length
        if rng.random() < style.built and end > 3:
            pitched = rng.random() < style.pitched
            height = rng.uniform(*style.storeys)
            hidden = not detached and start - neighbour[0] < 0.1 and height < neighbour[1]
            building = Building(
                side=side,
                front=street.front + (rng.uniform(0, 2.5) if detached else 0.0),
                start=start,
                end=end,
                height=height,
                roof=rng.uniform(2, 4) if pitched else 0.0,
                kind=pick(rng, KINDS, (0.62, 0.30, 0.08) if pitched else (0.5, 0.25, 0.25)),
                flush=hidden and not pitched,
            )  # fmt: skip
            scene.add(end, paint_building, building)
            skyline[max(int(start), 0) : max(int(end), 0)] = building.height + building.roof / 2
            neighbour = (end, height)
        else:
            _add_grove(scene, side, start, end)
        start = end + (rng.uniform(2, 7) if detached else pick(rng, (0.0, 0.0, 2.0)))
    scene.shade.skyline[side] = skyline


def _add_grove(scene: Scene, side: int, start: float, end: float) -> None:
    """Fill a gap in the building line with trees and bushes."""
    rng = scene.rng
    for z in np.arange(max(start, 6), end, 4.5):
        x = side * (scene.street.front + rng.uniform(1.5, 9))
        if rng.random() < 0.6:
            kind = pick(rng, TREES, (0.6, 0.15, 0.25))
            scene.stand(paint_tree, x, z, 5, rng.uniform(5, 12), kind)
        if rng.random() < 0.5:
            size = (rng.uniform(1.5, 3.5), rng.uniform(1.0, 2.2))
            x = side * (scene.street.front + rng.uniform(0.8, 3))
            scene.stand(paint_bush, x, z, 2, size)


def _add_edging(scene: Scene, side: int) -> None:
    """Put walls, fences and hedges between sidewalk and yards, stretch by stretch."""
    rng, street = scene.rng, scene.street
    start = rng.uniform(2, 6)
    while start < 90:
        end = start + rng.uniform(7, 16)
        if rng.random() < scene.style.edging and not street.blocked(start, end):
            x = side * (street.border + 0.15)
            kind = pick(rng, ('wall', 'fence', 'hedge'), (0.34, 0.38, 0.28))
            if kind == 'wall':
                scene.add(end, paint_wall, x, start, end, rng.uniform(0.9, 2.4))
            elif kind == 'fence':
                scene.add(end, paint_fence, x, start, end, rng.uniform(0.9, 1.9))
            else:
                scene.add(end, paint_hedge, x, start, end, rng.uniform(0.8, 1.9))
        start = end + pick(rng, (0.0, 1.5, 3.0))
    # Guard rails along the kerb keep pedestrians off a busy road.
    if street.half_road > 6 and rng.random() < 0.3:
        start = rng.uniform(7, 20)
        end = start + rng.uniform(8, 20)
        if not street.blocked(start, end):
            x = side * (street.half_road + 0.3)
            scene.add((start + end) / 2, paint_fence, x, start, end, rng.uniform(0.8, 1.1))


def _add_trees(scene: Scene, side: int) -> None:
    """Plant street trees along the kerb and, in green districts, trees in the yards."""
    rng, street, style = scene.rng, scene.street, scene.style
    kind = pick(rng, TREES, (0.75, 0.15, 0.10))
    height, step = rng.uniform(5, 9), rng.uniform(8, 13)
    lined = rng.random() < style.trees
    for z in np.arange(rng.uniform(7, 14), 80, step):
        if lined and rng.random() < 0.8 and not street.blocked(z - 1, z + 1):
            x = side * (street.half_road + max(0.5 * street.verge, 0.7))
            tall = height * rng.uniform(0.85, 1.15)
            scene.stand(paint_tree, x, z, 4, tall, kind)
            scene.cast(x, z, 0.3, 0.4 * tall)
            scene.cast_crown(x, z, 0.6 * tall, 0.35 * tall, tall)
        if style.grassy and rng.random() < 0.35:
            deep = street.front - street.border
            x, at = side * (street.border + rng.uniform(0.25, 1.1) * max(deep, 1)), z + 3
            if not street.blocked(at - 1, at + 1):
                tall = rng.uniform(3, 8)
                shape = pick(rng, TREES)
                scene.stand(paint_tree, x, at, 4, tall, shape)
                scene.cast_crown(x, at, 0.6 * tall, 0.3 * tall, tall)
        if style.grassy and rng.random() < 0.4 and not street.blocked(z - 1, z + 1):
            x = side * (street.border + rng.uniform(0.8, 2.5))
            scene.stand(paint_bush, x, z, 1.5, (rng.uniform(1, 2.5), rng.uniform(0.7, 1.5)))


def _add_furniture(scene: Scene, side: int) -> None:
    """Set up lamps at a regular distance, signs at random, traffic lights at the side street."""
    rng, street = scene.rng, scene.street
    x = side * (street.half_road + 0.45)
    for z in np.arange(rng.uniform(6, 22), 100, rng.uniform(20, 30)):
        scene.stand(paint_lamp, x, z, 3)
        scene.cast(x, z, 0.2, 7)
        scene.shade.lamps.append((x - side * 1.2, z))
    for z in rng.uniform(7, 50, rng.poisson(1.6)):
        scene.stand(paint_sign, x, z, 1.2)
        scene.cast(x, z, 0.2, 2.2)
        scene.cast_crown(x, z, 0.9, 2.2, 3.0)
    if street.crossing is None:
        for z in rng.uniform(12, 60, int(rng.random() < 0.25)):
            scene.stand(paint_traffic_light, x, z, 5)
        return
    if rng.random() < 0.8:
        for z in (street.crossing - 4.2, street.crossing + street.side_road + 4.2):
            if z > 6:
                scene.stand(paint_traffic_light, x, z, 5)
                scene.cast(x, z, 0.2, 4)


def _add_sidewalk_life(scene: Scene, side: int) -> None:
    """Put people onto the sidewalk, alone and in small groups, and bicycles against the kerb."""
    rng, street = scene.rng, scene.street
    for _ in range(rng.poisson(scene.style.people / 2)):
        z = 6 + 45 * rng.beta(1.0, 1.6)
        for _ in range(pick(rng, (1, 2, 3), (0.6, 0.28, 0.12))):
            x = side * rng.uniform(street.kerb + 0.5, street.border - 0.3)
            at = z + rng.uniform(-1, 1)
            _add_person(scene, x, at)
    if rng.random() < 0.35:
        z = rng.uniform(6, 22)
        for place in range(int(rng.integers(1, 5))):
            x, at = side * (street.kerb + 0.6), z + 0.9 * place
            scene.stand(paint_bicycle, x, at, 1, rng.uniform(-0.5, 0.5))
            scene.shade.contact.append(_footprint(x, at, 1.2, 0.3))


def _add_person(scene: Scene, x: float, z: float) -> None:
    """Put one person onto the ground."""
    scene.stand(paint_person, x, z, 0.6)
    scene.cast(x, z, 0.42, 1.7)
    scene.shade.contact.append(_footprint(x, z, 0.5, 0.35))


def _add_parked(scene: Scene, side: int) -> None:
    """Park cars along the kerb."""
    rng, street = scene.rng, scene.street
    x = side * (street.half_road - 1.05)
    heading = 0.0 if side > 0 else np.pi
    z, occupied = rng.uniform(7, 16), rng.uniform(0.1, 0.9)
    while z < 48:
        near_crossing = street.blocked(z - 5, z + 5)
        if rng.random() < occupied and not near_crossing:
            _add_vehicle(scene, paint_car, x, z, heading + rng.normal(0, 0.02), 4.4, 1.8)
        z += rng.uniform(5.4, 6.6)


def _add_traffic(scene: Scene) -> None:
    """Fill the lanes: cars mostly, now and then a truck, a bus or a cyclist."""
    rng, street = scene.rng, scene.street
    width = 3.2
    for lane in range(street.lanes - 1):
        for side in (-1, 1):
            x, heading = side * (lane + 0.5) * width, 0.0 if side > 0 else np.pi
            own = abs(x - scene.painter.camera.lane) < 1.9
            z = rng.uniform(11, 22) if own else rng.uniform(7, 18)
            while z < 75:
                if rng.random() < scene.style.traffic:
                    paint, long, wide = pick(rng, TRAFFIC, TRAFFIC_CHANCES)
                    z += long / 2
                    if paint is paint_rider:
                        _add_rider(scene, x + side * 0.9, z, rng.uniform(0.5, 1.1))
                    else:
                        at, turn = x + rng.normal(0, 0.12), heading + rng.normal(0, 0.015)
                        _add_vehicle(scene, paint, at, z, turn, long, wide)
                    z += long / 2
                z += rng.uniform(5, 16)


def _add_crossing_life(scene: Scene) -> None:
    """Send people over the zebra crossing and vehicles through the side street."""
    rng, street = scene.rng, scene.street
    if street.crossing is None:
        if rng.random() < 0.25:
            _add_rider(scene, rng.uniform(-1, 1) * street.half_road, rng.uniform(7, 18), 0.1)
        return
    for _ in range(rng.poisson(1.6)):
        x = rng.uniform(-1, 1) * street.half_road
        _add_person(scene, x, max(street.crossing - rng.uniform(1.2, 3.2), 6))
    if rng.random() < 0.35:
        x = rng.uniform(-1, 1) * street.half_road
        _add_rider(scene, x, street.crossing - 0.4, rng.uniform(-0.25, 0.25))
    if rng.random() < 0.45:
        middle = street.crossing + street.side_road / 2
        turn = pick(rng, (-1, 1))
        x = turn * rng.uniform(2, 14)
        kind, long, _ = pick(rng, TRAFFIC[:3], TRAFFIC_CHANCES[:3])
        z = middle + turn * 1.4
        scene.stand(kind, x, z, 6, turn * np.pi / 2)
        scene.shade.contact.append(_footprint(x, z, long, 1.9))


def _add_rider(scene: Scene, x: float, z: float, turn: float) -> None:
    """Put one cyclist onto the road."""
    scene.stand(paint_rider, x, z, 1, turn)
    scene.cast(x, z, 0.4, 1.7)
    scene.shade.contact.append(_footprint(x, z, 1.0 * np.cos(turn) + 0.3, 0.5))


def _add_vehicle(
    scene: Scene, paint: Callable, x: float, z: float, heading: float, long: float, wide: float
) -> None:
    """Put a vehicle that drives along the street onto the road, with its shadows."""
    if z - long / 2 < 4.0:
        return  # its near end would reach behind the lens
    if scene.painter.camera.sees(x, z, 8):
        # The near end counts: a bus hides the car that is parked beside it.
        scene.add(z - long / 2, paint, x, z, heading)
    scene.shade.contact.append(_footprint(x, z, wide * 1.05, long * 1.02))
    towards = scene.painter.light.towards
    tall = 1.4 if paint is paint_car else 3.0
    shift = -np.array([towards[0], towards[2]]) * tall / max(float(towards[1]), 0.25)
    base = _footprint(x, z, wide, long)
    scene.shade.blobs.append(_hull(np.concatenate([base, base + 0.9 * shift])))


def _footprint(x: float, z: float, wide: float, deep: float) -> np.ndarray:
    """A rectangle on the ground around (x, z): ``(4, 2)``."""
    return np.array([x, z]) + np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * [wide / 2, deep / 2]


def _hull(points: np.ndarray) -> np.ndarray:
    """Convex hull of ground points: ``(n, 2)`` -> ``(k, 2)``."""
    return cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)
