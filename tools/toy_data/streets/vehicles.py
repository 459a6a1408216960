"""Vehicles as small solids: cars of several shapes, trucks and buses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from toy_data.brushes.chance import pick
from toy_data.streets.classes import BUS, CAR, TRUCK
from toy_data.streets.painter import SMALLEST, Painter

PAINT = np.array([
    (.84, .84, .83), (.62, .63, .65), (.08, .08, .09), (.32, .33, .35), (.62, .09, .09),
    (.12, .22, .48), (.46, .58, .70), (.62, .56, .46), (.14, .30, .20), (.84, .66, .14),
    (.46, .30, .22), (.70, .36, .14),
])  # fmt: skip
PAINT_CHANCES = (5, 5, 4, 4, 2, 3, 2, 2, 1, 1, 1, 1)
RUBBER, GLASS = np.array([0.05, 0.05, 0.055]), np.array([0.10, 0.12, 0.15])

FACES = ('rear', 'front', 'left', 'right', 'top')
# Corners 0..3 are the profile on the left side, 4..7 the same on the right.
CORNERS = np.array([[0, 1, 5, 4], [7, 6, 2, 3], [0, 1, 2, 3], [4, 5, 6, 7], [1, 2, 6, 5]])
RING = np.array([[0.0, np.sin(turn), np.cos(turn)] for turn in np.linspace(0, 2 * np.pi, 14)])


@dataclass(frozen=True)
class Pose:
    """Where a vehicle stands: middle (x, z) in metres, and heading (0 = away from the camera)."""

    x: float
    z: float
    heading: float

    def world(self, points: np.ndarray) -> np.ndarray:
        """Vehicle coordinates (x right, y up, z forward; ``(n, 3)``) -> world ``(n, 3)``."""
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        world = points.copy()
        world[:, 0] = self.x + cos * points[:, 0] + sin * points[:, 2]
        world[:, 2] = self.z - sin * points[:, 0] + cos * points[:, 2]
        return world


@dataclass(frozen=True)
class Prism:
    """A box with sloping faces: the solid that every vehicle is made of.

    Args:
        profile (np.ndarray): ``(4, 2)`` (z, y) of rear bottom, rear top, front top, front bottom.
        half (tuple[float, float]): Half width at the bottom and at the top, in metres.
    """

    profile: np.ndarray
    half: tuple[float, float]

    def faces(self) -> np.ndarray:
        """Corners of each face of `FACES`, ``(5, 4, 3)`` in vehicle coordinates.

        Corners run bottom, top, top, bottom, so that a face has its own (across, up) directions.
        """
        corners = np.empty((8, 3))
        corners[:4, 0] = -self.half[0], -self.half[1], -self.half[1], -self.half[0]
        corners[4:, 0] = -corners[:4, 0]
        corners[:4, 1:] = corners[4:, 1:] = self.profile[:, ::-1]
        return corners[CORNERS]


def spot(face: np.ndarray, across: tuple[float, float], up: tuple[float, float]) -> np.ndarray:
    """A smaller quad on a face: fractions across and up -> ``(4, 3)`` corners."""

    def at(a: float, b: float) -> np.ndarray:
        low, high = face[0] + a * (face[3] - face[0]), face[1] + a * (face[2] - face[1])
        return low + b * (high - low)

    return np.stack([at(across[0], up[0]), at(across[0], up[1]), at(across[1], up[1]),
                     at(across[1], up[0])])  # fmt: skip


class Bodywork:
    """Paints the visible faces of prisms at one pose, and details onto them.

    Args:
        painter (Painter): Paints.
        pose (Pose): Where the vehicle stands.
        label (int): trainId of everything painted.
    """

    def __init__(self, painter: Painter, pose: Pose, label: int) -> None:
        self.painter, self.pose, self.label = painter, pose, label

    def solid(self, prism: Prism, colour: np.ndarray) -> dict[str, np.ndarray]:
        """Paint a prism; return the faces that the camera sees, in vehicle coordinates."""
        faces = prism.faces()
        world = self.pose.world(faces.reshape(20, 3)).reshape(5, 4, 3)
        normals = np.cross(world[:, 2] - world[:, 0], world[:, 3] - world[:, 1])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        centres = world.mean(1)
        inwards = (normals * (centres - centres.mean(0))).sum(1) < 0
        normals[inwards] *= -1
        towards = (normals * self.painter.camera.view(centres)).sum(1) < 0
        for face in np.flatnonzero(towards):
            self.painter.polygon(world[face], colour, self.label, normals[face])
        return {FACES[face]: faces[face] for face in np.flatnonzero(towards)}

    def detail(self, quad: np.ndarray, colour: np.ndarray, shines: bool = False) -> None:
        """Paint a polygon ``(n, 3)`` of vehicle coordinates on top of a visible face."""
        if self.painter.camera.metres(np.ptp(quad, axis=0).max(), self.pose.z) < SMALLEST:
            return
        normal = None if shines else np.array([0.0, 0.4, -0.92])
        self.painter.polygon(self.pose.world(quad), colour, self.label, normal)

    def wheel(self, x: float, z: float, radius: float) -> None:
        """Paint a wheel on the side x of the vehicle."""
        hub = np.array([x, radius, z])
        self.detail(hub + radius * RING, RUBBER)
        self.detail(hub + 0.58 * radius * RING, np.array([0.42, 0.42, 0.44]))
        self.detail(hub + 0.2 * radius * RING, np.array([0.16, 0.16, 0.17]))

    def tyres(self, z: float, half: float, radius: float) -> None:
        """Paint the two tyres that show below the bumper."""
        for x in (-half + 0.14, half - 0.14):
            shape = [[x - 0.12, 0, z], [x - 0.12, radius, z], [x + 0.12, radius, z],
                     [x + 0.12, 0, z]]  # fmt: skip
            self.detail(np.array(shape), RUBBER)

    def lights(self, seen: dict[str, np.ndarray], up: tuple[float, float], wide: float) -> None:
        """Paint head lights or tail lights at the corners of the end that shows."""
        on = self.painter.light.lamps
        for end, off_colour, on_colour in (
            ('rear', (0.50, 0.05, 0.05), (1.7, 0.12, 0.08)),
            ('front', (0.80, 0.80, 0.76), (2.6, 2.4, 1.9)),
        ):
            if end in seen:
                for across in ((0.03, 0.03 + wide), (0.97 - wide, 0.97)):
                    colour = np.array(on_colour if on else off_colour)
                    self.detail(spot(seen[end], across, up), colour, shines=on)


def paint_car(
    painter: Painter, rng: np.random.Generator, x: float, z: float, heading: float
) -> None:
    """Paint a car: sedan, hatchback or van."""
    kind = pick(rng, ('sedan', 'hatch', 'van'), (0.42, 0.40, 0.18))
    length, height, tail, nose = {
        'sedan': (4.5, rng.uniform(1.38, 1.48), 0.55, 1.25),
        'hatch': (4.0, rng.uniform(1.45, 1.62), 0.05, 1.05),
        'van': (4.8, rng.uniform(1.8, 2.1), 0.02, 0.75),
    }[kind]
    colour = pick(rng, PAINT, PAINT_CHANCES) * rng.uniform(0.8, 1.15)
    glass = GLASS + rng.uniform(0.05, 0.3) * painter.light.zenith
    half, belt = rng.uniform(0.84, 0.93), 0.56 * height
    back, front = -length / 2, length / 2
    work = Bodywork(painter, Pose(x, z, heading), CAR)

    for end in (back + 0.25, front - 0.25):
        work.tyres(end, half, 0.34)
    under = Prism(_profile(back + 0.1, front - 0.1, 0.16, 0.4), (half - 0.06, half - 0.02))
    work.solid(under, np.array([0.07, 0.07, 0.075]))
    shell = np.array([[back, 0.3], [back + 0.06, belt], [front - 0.18, belt - 0.06], [front, 0.3]])
    seen = work.solid(Prism(shell, (half, half - 0.03)), colour)
    work.lights(seen, (0.55, 0.82), 0.17)
    for end in ('rear', 'front'):
        if end in seen:
            work.detail(spot(seen[end], (0.0, 1.0), (0.0, 0.28)), colour * 0.5 + 0.02)
            plate = spot(seen[end], (0.37, 0.63), (0.30, 0.52))
            work.detail(plate, np.array([0.78, 0.78, 0.74]))
    cabin = np.array([[back + tail, belt - 0.02], [back + tail + 0.22, height],
                      [front - nose - 0.75, height], [front - nose, belt - 0.05]])  # fmt: skip
    sides = work.solid(Prism(cabin, (half - 0.04, 0.76 * half)), colour * 0.96)
    for name, face in sides.items():
        if name in ('rear', 'front'):
            work.detail(spot(face, (0.08, 0.92), (0.12, 0.88)), glass)
        elif name in ('left', 'right'):
            work.detail(spot(face, (0.07, 0.50), (0.12, 0.86)), glass * 0.85)
            work.detail(spot(face, (0.54, 0.90), (0.12, 0.86)), glass * 0.85)
    for name, side in (('left', -half), ('right', half)):
        if name in seen:
            work.detail(spot(seen[name], (0.0, 1.0), (0.0, 0.18)), colour * 0.55)
            for axle in (back + 0.78, front - 0.82):
                work.wheel(side, axle, 0.34)


def paint_truck(
    painter: Painter, rng: np.random.Generator, x: float, z: float, heading: float
) -> None:
    """Paint a lorry: a cab and a tall box."""
    pose = Pose(x, z, heading)
    work = Bodywork(painter, pose, TRUCK)
    length, height, half = rng.uniform(6.5, 9.0), rng.uniform(3.0, 3.7), 1.22
    back, front = -length / 2, length / 2
    cab_colour = pick(rng, PAINT) * rng.uniform(0.8, 1.15)
    white, other = np.array([0.80, 0.80, 0.78]), rng.uniform(0.15, 0.8, 3)
    box_colour = pick(rng, (white, cab_colour * 0.9, other))
    for end in (back + 0.4, front - 0.4):
        work.tyres(end, half, 0.5)
    chassis = Prism(_profile(back + 0.1, front - 0.1, 0.35, 0.95), (half - 0.1, half - 0.1))
    work.solid(chassis, np.array([0.10, 0.10, 0.11]))

    def cargo() -> None:
        seen = work.solid(Prism(_profile(back, front - 2.1, 0.9, height), (half, half)), box_colour)
        work.lights(seen, (0.0, 0.07), 0.12)
        if 'rear' in seen:
            work.detail(spot(seen['rear'], (0.485, 0.515), (0.04, 0.97)), box_colour * 0.55)
        for name in ('left', 'right'):
            if name in seen:
                stripe = spot(seen[name], (0.04, 0.96), (0.42, 0.62))
                work.detail(stripe, np.clip(box_colour * 0.3 + cab_colour * 0.7, 0, 1))
                work.detail(spot(seen[name], (0.0, 1.0), (0.0, 0.05)), box_colour * 0.5)

    def cab() -> None:
        shape = np.array([[front - 1.95, 0.5], [front - 1.95, 2.7], [front - 0.35, 2.7],
                          [front, 0.5]])  # fmt: skip
        seen = work.solid(Prism(shape, (half - 0.03, half - 0.08)), cab_colour)
        work.lights(seen, (0.08, 0.2), 0.16)
        if 'front' in seen:
            work.detail(spot(seen['front'], (0.07, 0.93), (0.5, 0.88)), GLASS * 1.4)
            work.detail(spot(seen['front'], (0.2, 0.8), (0.12, 0.4)), cab_colour * 0.5)
        for name in ('left', 'right'):
            if name in seen:
                work.detail(spot(seen[name], (0.3, 0.9), (0.5, 0.88)), GLASS * 1.3)

    # The part farther from the camera goes first.
    for part in (cab, cargo) if np.cos(pose.heading) > 0 else (cargo, cab):
        part()
    for side in _visible_sides(painter, pose, half):
        for axle in (back + 1.0, back + 2.1, front - 1.1):
            work.wheel(side, axle, 0.48)


def paint_bus(
    painter: Painter, rng: np.random.Generator, x: float, z: float, heading: float
) -> None:
    """Paint a city bus: one long box with a band of windows."""
    work = Bodywork(painter, Pose(x, z, heading), BUS)
    length, height, half = rng.uniform(9.5, 12.0), rng.uniform(2.9, 3.2), 1.25
    back, front = -length / 2, length / 2
    livery = np.array([(.72, .12, .10), (.86, .70, .18), (.14, .34, .62), (.80, .80, .78),
                       (.20, .48, .30), (.60, .62, .64)])  # fmt: skip
    colour, second = livery[rng.choice(6, 2, replace=False)] * rng.uniform(0.8, 1.1)
    glass = GLASS + rng.uniform(0.05, 0.25) * painter.light.zenith
    lit = painter.light.lamps
    if lit:
        glass = np.array([1.0, 0.92, 0.7]) * rng.uniform(0.6, 0.9)
    for end in (back + 0.4, front - 0.4):
        work.tyres(end, half, 0.48)
    seen = work.solid(Prism(_profile(back, front, 0.3, height), (half, half - 0.05)), colour)
    work.lights(seen, (0.12, 0.24), 0.12)
    for end in ('rear', 'front'):
        if end in seen:
            work.detail(spot(seen[end], (0.07, 0.93), (0.44, 0.80)), glass, shines=lit)
            work.detail(spot(seen[end], (0.2, 0.8), (0.85, 0.96)), (1.1, 0.8, 0.2), shines=lit)
            work.detail(spot(seen[end], (0.0, 1.0), (0.0, 0.1)), colour * 0.4)
    for name in ('left', 'right'):
        if name in seen:
            work.detail(spot(seen[name], (0.0, 1.0), (0.06, 0.34)), second)
            for pane in np.arange(0.03, 0.94, 0.117):
                box = spot(seen[name], (pane, pane + 0.105), (0.45, 0.80))
                work.detail(box, glass * rng.uniform(0.8, 1.1), shines=lit)
            for axle in (back + 2.2, front - 2.4):
                work.wheel(-half if name == 'left' else half, axle, 0.48)


def _profile(back: float, front: float, low: float, high: float) -> np.ndarray:
    """Profile ``(4, 2)`` of a plain box."""
    return np.array([[back, low], [back, high], [front, high], [front, low]])


def _visible_sides(painter: Painter, pose: Pose, half: float) -> Iterator[float]:
    """x of the sides of a vehicle that face the camera, in vehicle coordinates."""
    for x in (-half, half):
        middle, edge = pose.world(np.array([[0.0, 1.0, 0.0], [x, 1.0, 0.0]]))
        if (edge - middle) @ painter.camera.view(edge) < 0:
            yield x
