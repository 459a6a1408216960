"""People on foot, people on bicycles, and bicycles on their own."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from toy_data.brushes.chance import pick
from toy_data.streets.classes import BICYCLE, PERSON, RIDER
from toy_data.streets.painter import Flat, Painter

SKIN = np.array([(0.80, 0.60, 0.48), (0.66, 0.46, 0.34), (0.46, 0.30, 0.20), (0.86, 0.68, 0.58)])
HAIR = np.array([(0.10, 0.08, 0.07), (0.30, 0.20, 0.12), (0.62, 0.50, 0.30), (0.55, 0.54, 0.52)])


def cloth(rng: np.random.Generator) -> np.ndarray:
    """Albedo ``(3,)`` of a garment: sober as a rule, bright at times."""
    if rng.random() < 0.4:
        return rng.uniform(0.1, 0.85, 3)
    tone = np.array([(.12, .13, .16), (.20, .25, .40), (.50, .48, .44), (.75, .74, .72),
                     (.32, .26, .20), (.40, .42, .38)])  # fmt: skip
    return pick(rng, tone) * rng.uniform(0.7, 1.2)


def paint_person(painter: Painter, rng: np.random.Generator, x: float, z: float) -> None:
    """Paint somebody who walks or stands: legs, coat, arms, head, perhaps a bag."""
    card = Flat(painter, x, z)
    tall = rng.uniform(1.55, 1.95) if rng.random() < 0.88 else rng.uniform(1.1, 1.3)
    coat, trousers, skin = cloth(rng), cloth(rng), pick(rng, SKIN)
    stride, broad = rng.uniform(-0.17, 0.17) * tall, rng.uniform(0.23, 0.30) * tall
    hip, shoulder = 0.50 * tall, 0.80 * tall
    for leg in (-1, 1):
        foot = (leg * (0.05 * tall + 0.5 * stride), 0.03 * tall)
        card.limb((leg * 0.05 * tall, hip), foot, (0.11 * tall, 0.07 * tall),
                  trousers * (0.82 if leg < 0 else 1.0), PERSON)  # fmt: skip
        card.disc((foot[0] + 0.02 * tall, 0.02 * tall), (0.05 * tall, 0.025 * tall),
                  (.08, .07, .07), PERSON)  # fmt: skip
    hem = pick(rng, (0.46, 0.34)) * tall
    outline = [[-0.42 * broad, hem], [-0.40 * broad, 0.62 * tall], [-0.5 * broad, shoulder],
               [-0.2 * broad, 0.85 * tall], [0.2 * broad, 0.85 * tall], [0.5 * broad, shoulder],
               [0.40 * broad, 0.62 * tall], [0.42 * broad, hem]]  # fmt: skip
    card.polygon(outline, coat, PERSON)
    shaded = [[0.42 * broad, hem], [0.5 * broad, shoulder], [0.22 * broad, shoulder],
              [0.2 * broad, hem]]  # fmt: skip
    card.polygon(shaded, coat * 0.78, PERSON)
    for arm in (-1, 1):
        hand = (arm * (0.58 * broad) + 0.4 * stride * arm, 0.47 * tall)
        card.limb((arm * 0.46 * broad, shoulder), hand, (0.075 * tall, 0.05 * tall), coat * 0.9,
                  PERSON)  # fmt: skip
        card.disc(hand, 0.03 * tall, skin, PERSON, corners=8)
    if rng.random() < 0.3:
        bag = (pick(rng, (-1, 1)) * 0.55 * broad, 0.46 * tall)
        card.disc(bag, (0.09 * tall, 0.10 * tall), cloth(rng), PERSON, corners=4)
    _head(card, rng, 0.0, 0.92 * tall, 0.075 * tall, skin, PERSON)


def _head(
    card: Flat, rng: np.random.Generator, across: float, up: float, radius: float,
    skin: np.ndarray, label: int,
) -> None:  # fmt: skip
    """Paint a head with hair around it; half of all people show their backs."""
    hair = pick(rng, HAIR)
    card.limb((across, up - 1.5 * radius), (across, up), (radius, radius), skin * 0.8, label)
    card.disc((across, up + 0.12 * radius), (0.98 * radius, 1.15 * radius), hair, label)
    if rng.random() < 0.5:
        card.disc((across, up - 0.15 * radius), (0.8 * radius, 0.95 * radius), skin, label)


def paint_bicycle(
    painter: Painter, rng: np.random.Generator, x: float, z: float, turn: float
) -> None:
    """Paint a bicycle: two wheels, a frame, a saddle and handlebars."""
    card, colour = Flat(painter, x, z, turn), cloth(rng) * 1.2
    for wheel in (-0.52, 0.52):
        _wheel(card, wheel)
    hub, crank, saddle, head = (-0.52, 0.34), (-0.05, 0.32), (-0.18, 0.88), (0.36, 0.86)
    for start, end in ((hub, crank), (hub, saddle), (crank, saddle), (saddle, head), (crank, head),
                       (head, (0.52, 0.34))):  # fmt: skip
        card.limb(start, end, (0.075, 0.075), colour, BICYCLE)
    card.limb((-0.32, 0.94), (-0.06, 0.94), (0.10, 0.06), (0.08, 0.07, 0.07), BICYCLE)
    card.limb((0.30, 1.02), (0.50, 1.02), (0.07, 0.07), (0.15, 0.15, 0.15), BICYCLE)


def _wheel(card: Flat, across: float, radius: float = 0.34, width: float = 0.075) -> None:
    """Paint a wheel as a ring of short strokes, so that one sees the street through it."""
    angle = np.linspace(0, 2 * np.pi, 15)
    ring = np.stack([across + radius * np.cos(angle), radius + radius * np.sin(angle)], axis=1)
    for start, end in pairwise(ring):
        card.limb(start, end, (width, width), (0.09, 0.09, 0.10), BICYCLE)
    for spoke in (0, 3, 5):
        card.limb(ring[spoke], ring[spoke + 7], (0.02, 0.02), (0.5, 0.5, 0.5), BICYCLE)


def paint_rider(
    painter: Painter, rng: np.random.Generator, x: float, z: float, turn: float
) -> None:
    """Paint a cyclist on a bicycle. ``turn`` as in `Flat`; small angles show the side."""
    coat, trousers, skin = cloth(rng), cloth(rng), pick(rng, SKIN)
    card = Flat(painter, x, z, turn)
    pedal = rng.uniform(-0.15, 0.15)
    card.limb((-0.18, 0.98), (0.08, 0.62), (0.17, 0.13), trousers * 0.75, RIDER)
    card.limb((0.08, 0.62), (-0.05 - pedal, 0.24), (0.12, 0.09), trousers * 0.75, RIDER)
    paint_bicycle(painter, rng, x, z, turn)
    card.limb((-0.18, 0.98), (0.14, 0.68), (0.19, 0.14), trousers, RIDER)
    card.limb((0.14, 0.68), (-0.02 + pedal, 0.30), (0.13, 0.09), trousers, RIDER)
    card.limb((-0.20, 0.92), (0.10, 1.50), (0.32, 0.40), coat, RIDER)
    card.limb((0.10, 1.44), (0.40, 1.05), (0.13, 0.09), coat * 0.85, RIDER)
    # Seen from behind the card is thin; a body as broad as shoulders keeps the rider in sight.
    facing = Flat(painter, x, z)
    facing.limb((0, 1.0), (0, 1.50), (0.30, 0.42), coat * 0.95, RIDER)
    _head(facing, rng, 0.10 * np.cos(turn), 1.68, 0.13, skin, RIDER)
    if rng.random() < 0.5:
        helmet = (0.10 * np.cos(turn), 1.75)
        facing.disc(helmet, (0.145, 0.10), rng.uniform(0.1, 0.9, 3), RIDER)
