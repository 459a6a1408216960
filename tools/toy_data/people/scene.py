"""A picture: people in two-coloured clothes, in front of something and behind something else."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

from toy_data.brushes.chance import pick
from toy_data.brushes.noise import fractal
from toy_data.people.body import HEAD_RADIUS, KEYPOINTS, SIDES, Body, place
from toy_data.people.canvas import Canvas, extent

SKINS = ((255, 219, 188), (229, 184, 143), (176, 124, 84), (110, 72, 48))
HAIRS = ((28, 22, 20), (84, 54, 30), (190, 150, 84), (150, 150, 150))
WHITE, DARK = (245, 245, 245), (30, 30, 36)

# part: joints whose discs it is the hull of, their radii in heights, and which colour it has
PARTS = {
    'torso': (('left_shoulder', 'right_shoulder', 'left_hip', 'right_hip'), 4 * (0.045,), 'shirt'),
    'chest': (('chest',), (0.03,), 'badge'),  # tells the front from the back
    'neck': (('neck', 'head'), (0.028, 0.028), 'skin'),
    'head': (('head',), (HEAD_RADIUS,), 'skin'),
    'hair': (('hair',), (HEAD_RADIUS,), 'hair'),
    'nose': (('nose',), (0.014,), 'nose'),
}
CARRIERS = {'nose': {'nose'}}
"""The parts that show a keypoint: it is visible where one of them is on top."""

for _side in SIDES:
    _limbs = {
        'upper_arm': (('shoulder', 'elbow'), (0.036, 0.028), 'sleeve'),
        'forearm': (('elbow', 'wrist'), (0.028, 0.022), 'sleeve'),
        'hand': (('wrist',), (0.026,), 'skin'),
        'thigh': (('hip', 'knee'), (0.05, 0.038), 'leg'),
        'shin': (('knee', 'ankle'), (0.038, 0.028), 'leg'),
        'foot': (('ankle',), (0.032,), 'shoe'),
        'eye': (('eye',), (0.012,), 'eye'),
        'ear': (('ear',), (0.018,), 'nose'),
    }
    for _part, (_joints, _radii, _colour) in _limbs.items():
        _name = f'{_side}_{_part}'
        PARTS[_name] = (tuple(f'{_side}_{joint}' for joint in _joints), _radii, _colour)
        for _joint in _joints:
            CARRIERS.setdefault(f'{_side}_{_joint}', set()).add(_name)
    CARRIERS[f'{_side}_shoulder'].add('torso')
    CARRIERS[f'{_side}_hip'].add('torso')

NUMBERS = {part: 1 + index for index, part in enumerate(PARTS)}


def colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    """HSV in [0, 1], the hue going round -> RGB."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return int(255 * red), int(255 * green), int(255 * blue)


def clothes(rng: np.random.Generator) -> dict[str, tuple[int, int, int]]:
    """Draw what somebody wears: an arm and a leg of one side share a hue that the others lack.

    Which hue is on which side differs from one to the next, so that a mirrored picture is another
    proper picture: the face and the badge tell left from right, as with real people.
    """
    skin = np.array(pick(rng, SKINS))
    hue = rng.random()
    worn = {
        'skin': tuple(skin),
        'nose': tuple(skin * 8 // 10),
        'hair': pick(rng, HAIRS),
        'eye': DARK,
        'shoe': DARK,
        'badge': WHITE,
        'shirt': colour(rng.random(), 0.25, rng.uniform(0.3, 0.75)),
    }
    for side, turn in zip(SIDES, (0, rng.uniform(0.33, 0.67)), strict=True):
        worn[f'{side}_sleeve'] = colour(hue + turn, rng.uniform(0.6, 0.9), rng.uniform(0.7, 1))
        worn[f'{side}_leg'] = colour(hue + turn, rng.uniform(0.6, 0.9), rng.uniform(0.4, 0.7))
    return worn


def paint_body(canvas: Canvas, body: Body, worn: dict, first: int) -> np.ndarray:
    """Paint somebody, far parts first; return the spots of the silhouette.

    Args:
        canvas (Canvas): What to paint on.
        body (Body): The body.
        worn (dict): Its colours.
        first (int): What is added to the numbers of its parts.

    Returns:
        np.ndarray: ``(FINE * h, FINE * w)`` bool.
    """
    whole = np.zeros(canvas.parts.shape, bool)
    nearness = {
        part: np.mean([body.joints[joint][2] for joint in joints])
        for part, (joints, _, _) in PARTS.items()
    }
    for part in sorted(PARTS, key=nearness.__getitem__):
        joints, radii, kind = PARTS[part]
        paint = worn.get(kind) or worn[f'{part.split("_")[0]}_{kind}']
        whole |= canvas.paint(
            [body.joints[joint] for joint in joints],
            [radius * body.pixels for radius in radii],
            paint,
            first + NUMBERS[part],
        )
    return whole


def annotation(canvas: Canvas, body: Body, whole: np.ndarray, first: int) -> dict:
    """What COCO says about somebody in the finished picture.

    Box and area are those of the silhouette, with what others hide of it. A keypoint has v = 0
    and no place outside the picture, v = 1 behind something, v = 2 in sight.
    """
    keypoints: list[float] = []
    for name in KEYPOINTS:
        on_top = canvas.part_at(body.joints[name])
        seen = {first + NUMBERS[part] for part in CARRIERS[name]}
        column, row = body.joints[name][:2]
        visible = 0 if on_top is None else 2 if on_top in seen else 1
        keypoints += [round(column, 2), round(row, 2), visible] if visible else [0, 0, 0]
    box, area = extent(whole)
    return {
        'bbox': [round(side, 2) for side in box],
        'area': round(area, 2),
        'keypoints': keypoints,
        'num_keypoints': sum(flag > 0 for flag in keypoints[2::3]),
        'category_id': 1,
        'iscrowd': 0,
    }


def background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw a wall and a floor with blotches, ``(h, w, 3)`` RGB uint8."""
    wall, floor = (colour(rng.random(), 0.3, rng.uniform(0.3, 0.9)) for _ in range(2))
    rows = np.arange(height) > rng.uniform(0.5, 0.9) * height
    flat = np.where(rows[:, None, None], floor, wall) * np.ones((1, width, 1))
    blotches = 0.6 + 0.8 * fractal(rng, height, width)[..., None]
    return np.clip(flat * blotches, 0, 255).astype(np.uint8)


def clutter(rng: np.random.Generator, canvas: Canvas, things: int) -> None:
    """Paint boards, poles and balls anywhere."""
    size = np.array([canvas.width, canvas.height])
    for _ in range(things):
        start = rng.random(2) * size
        end = start + rng.normal(0, 0.25, 2) * size
        radius = rng.uniform(0.01, 0.06) * size.min()
        shade = colour(rng.random(), rng.uniform(0, 0.7), rng.uniform(0.2, 1))
        canvas.paint((start, end), (radius, radius), shade)


def draw_scene(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, list[dict]]:
    """Draw a picture of one to three people.

    Args:
        rng (np.random.Generator): Source of randomness.
        size (tuple[int, int]): (height, width) in pixels.

    Returns:
        tuple[np.ndarray, list[dict]]: ``(h, w, 3)`` RGB uint8, and an annotation for each of the
        people as COCO has it, without its ids.
    """
    height, width = size
    canvas = Canvas(background(rng, height, width))
    clutter(rng, canvas, rng.integers(3, 8))
    number = pick(rng, (1, 2, 3), (5, 3, 1))
    bodies, wholes = [], []
    # the small ones are far away; each has a share of the width to itself, more or less
    for pixels, slot in zip(
        sorted(rng.uniform(0.45, 0.8, number) * min(size)), rng.permutation(number), strict=True
    ):
        middle = (
            (slot + rng.uniform(0.25, 0.75)) / number * width,
            rng.uniform(0.42, 0.58) * height,
        )
        bodies.append(place(rng, middle, pixels))
        first = (len(bodies) - 1) * len(PARTS)
        wholes.append(paint_body(canvas, bodies[-1], clothes(rng), first))
    clutter(rng, canvas, pick(rng, (0, 1, 2)))
    people = [
        annotation(canvas, body, whole, index * len(PARTS))
        for index, (body, whole) in enumerate(zip(bodies, wholes, strict=True))
    ]
    grain = rng.normal(0, 6, (height, width, 1))
    picture = cv2.GaussianBlur(canvas.picture(), (3, 3), 0.5) + grain
    return np.clip(picture, 0, 255).astype(np.uint8), people
