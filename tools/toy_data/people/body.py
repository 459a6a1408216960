"""The skeleton in three dimensions: proportions, poses, and its projection to the picture.

Lengths are shares of the body's height. Axes: x to the body's left, y up, z forwards. The camera
looks along -z without perspective: a body with yaw 0 faces it, and its left is on the right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toy_data.brushes.chance import pick

KEYPOINTS = (
    'nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear', 'left_shoulder', 'right_shoulder',
    'left_elbow', 'right_elbow', 'left_wrist', 'right_wrist', 'left_hip', 'right_hip',
    'left_knee', 'right_knee', 'left_ankle', 'right_ankle',
)  # fmt: skip
SIDES = {'left': 1, 'right': -1}
SKELETON = (
    (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9),
    (8, 10), (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
)  # fmt: skip
"""Pairs of keypoints to connect, counted from 1, as in COCO."""

HEAD_RADIUS = 0.07
TORSO, SHOULDERS, HIPS = 0.30, 0.10, 0.06  # height of the neck; half the widths
UPPER_ARM, FOREARM, THIGH, SHIN = 0.17, 0.16, 0.24, 0.23

ARMS = ((-0.5, 0.6), (0.05, 0.5), (0.0, 0.8))
STYLES = {
    # angles that each arm and leg draws on its own: forwards, sideways, bend of elbow or knee
    'stand': (ARMS, ((-0.1, 0.2), (0.0, 0.2), (0.0, 0.2))),
    'walk': (((-0.8, 0.8), (0.0, 0.3), (0.1, 0.9)), ((-0.5, 0.6), (0.0, 0.1), (0.0, 0.9))),
    'reach': (((0.3, 2.9), (0.0, 0.9), (0.0, 1.4)), ((-0.2, 0.4), (0.0, 0.4), (0.0, 0.5))),
    'jump': (((-0.3, 0.3), (0.9, 2.7), (0.0, 0.8)), ((-0.2, 0.5), (0.1, 0.8), (0.0, 1.0))),
    'sit': (((0.0, 1.2), (0.0, 0.4), (0.0, 1.5)), ((1.0, 1.6), (0.0, 0.4), (1.0, 1.8))),
}
STYLE_CHANCES = (3, 4, 3, 3, 2)


@dataclass(frozen=True)
class Body:
    """A posed body in the picture.

    Args:
        joints (dict[str, np.ndarray]): ``(3,)`` column, row and nearness in pixels of the 17
            keypoints and of ``neck``, ``head``, ``hair`` and ``chest``.
        pixels (float): The body's height, standing, in pixels.
    """

    joints: dict[str, np.ndarray]
    pixels: float


def rotation(axis: str, angle: float) -> np.ndarray:
    """The matrix that turns about an axis by an angle in radians, by the right-hand rule."""
    i = 'xyz'.index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    matrix = np.eye(3)
    matrix[[j, k], [j, k]] = np.cos(angle)
    matrix[j, k], matrix[k, j] = -np.sin(angle), np.sin(angle)
    return matrix


def limb(
    rng: np.random.Generator,
    ranges: tuple[tuple[float, float], ...],
    side: int,
    bend_sign: int,
    lengths: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the angles of an arm or a leg; return middle and end joint from the first one."""
    forwards, sideways, bend = (rng.uniform(*bounds) for bounds in ranges)
    upper = rotation('z', side * sideways) @ rotation('x', -forwards)
    lower = upper @ rotation('x', -bend_sign * bend)
    middle = upper @ [0, -lengths[0], 0]
    return middle, middle + lower @ [0, -lengths[1], 0]


def pose(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw a pose.

    Args:
        rng (np.random.Generator): Source of randomness.

    Returns:
        dict[str, np.ndarray]: Joints as ``(3,)`` shares of the height, the hips' middle at 0.
    """
    arms, legs = STYLES[pick(rng, list(STYLES), STYLE_CHANCES)]
    spine = rotation('x', rng.uniform(-0.1, 0.35)) @ rotation('z', rng.uniform(-0.2, 0.2))
    neck = spine @ [0, TORSO, 0]
    joints = {'neck': neck, 'chest': spine @ [0, 0.75 * TORSO, 0.05]}
    for name, side in SIDES.items():
        shoulder, hip = neck + spine @ [side * SHOULDERS, -0.015, 0], side * np.array([HIPS, 0, 0])
        elbow, wrist = limb(rng, arms, side, 1, (UPPER_ARM, FOREARM))
        knee, ankle = limb(rng, legs, side, -1, (THIGH, SHIN))
        joints |= {
            f'{name}_shoulder': shoulder,
            f'{name}_elbow': shoulder + spine @ elbow,
            f'{name}_wrist': shoulder + spine @ wrist,
            f'{name}_hip': hip,
            f'{name}_knee': hip + knee,
            f'{name}_ankle': hip + ankle,
        }
    skull = spine @ rotation('y', rng.uniform(-0.7, 0.7)) @ rotation('x', rng.uniform(-0.2, 0.3))
    head = joints['head'] = neck + spine @ [0, 0.03 + HEAD_RADIUS, 0]
    joints['hair'] = head + skull @ [0, 0.02, -0.03]
    joints['nose'] = head + skull @ [0, -0.015, 0.075]
    for name, side in SIDES.items():
        joints[f'{name}_eye'] = head + skull @ [side * 0.028, 0.015, 0.055]
        joints[f'{name}_ear'] = head + skull @ [side * 0.072, 0.0, 0.005]
    return joints


def place(rng: np.random.Generator, middle: tuple[float, float], pixels: float) -> Body:
    """Draw a body and put it into the picture.

    Args:
        rng (np.random.Generator): Source of randomness.
        middle (tuple[float, float]): Column and row of the middle of its keypoints' extent.
        pixels (float): Its height, standing, in pixels.

    Returns:
        Body: The body, seen from any side and leaning a little.
    """
    turn = rotation('z', rng.normal(0, 0.15)) @ rotation('y', rng.uniform(-np.pi, np.pi))
    joints = {name: pixels * (turn @ joint) * (1, -1, 1) for name, joint in pose(rng).items()}
    spread = np.array([joints[name] for name in KEYPOINTS])[:, :2]
    shift = np.append(np.array(middle) - (spread.min(0) + spread.max(0)) / 2, 0)
    return Body({name: joint + shift for name, joint in joints.items()}, pixels)
