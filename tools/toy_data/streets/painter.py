"""The painter: three buffers (colour, label, depth) and the ways to put something on them.

Painting goes from far to near, later strokes cover earlier ones. Colours are light that arrives at
the camera through clear air, in RGB with 1 = white and more for lamps; `lens` adds the air.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from toy_data.streets.camera import Camera
from toy_data.streets.classes import IGNORE
from toy_data.streets.light import Light

SUBPIXEL_BITS = 4
SMALLEST = 2.0
"""Canvas pixels below which small details are left out."""

TOWARDS_CAMERA = np.array([0.0, 0.25, -0.97])

Colour = np.ndarray | Sequence[float]


class Painter:
    """Paints world surfaces, lit by one light and seen by one camera.

    Args:
        camera (Camera): Decides the canvas size and where points land.
        light (Light): Decides how bright a surface is.
    """

    def __init__(self, camera: Camera, light: Light) -> None:
        self.camera = camera
        self.light = light
        shape = (camera.height, camera.width)
        # Colour and depth share one array, so that one call fills both.
        self._canvas = np.zeros((*shape, 4), np.float32)
        self.colour = self._canvas[..., :3]
        self.depth = self._canvas[..., 3]
        self.label = np.full(shape, IGNORE, np.uint8)

    def polygon(
        self,
        points: np.ndarray,
        colour: Colour,
        label: int,
        normal: np.ndarray | None = TOWARDS_CAMERA,
    ) -> None:
        """Paint a flat polygon in one colour.

        Args:
            points (np.ndarray): ``(n, 3)`` corners in world metres.
            colour (Colour): ``(3,)`` albedo, or light if ``normal`` is None.
            label (int): trainId.
            normal (np.ndarray | None): ``(3,)`` unit normal for the shading; None for a surface
                that shines by itself. Defaults to a surface that faces the camera.
        """
        value = np.asarray(colour, np.float64)
        if normal is not None:
            value = value * self.light.shade(normal)
        corners = self.camera.project(points)
        self.stroke(corners, value, label, float(points[:, 2].sum()) / len(points))

    def stroke(self, corners: np.ndarray, value: np.ndarray, label: int, depth: float) -> None:
        """Fill a canvas polygon: ``(n, 2)`` pixels, ``(3,)`` light, trainId, depth in metres."""
        shape = [(corners * (1 << SUBPIXEL_BITS) + 0.5).astype(np.int32)]
        cv2.fillPoly(self._canvas, shape, (*value.tolist(), depth), cv2.LINE_8, SUBPIXEL_BITS)
        cv2.fillPoly(self.label, shape, label, cv2.LINE_8, SUBPIXEL_BITS)

    def texture(
        self,
        quad: np.ndarray,
        albedo: np.ndarray,
        label: int,
        normal: np.ndarray,
        glow: np.ndarray | None = None,
        alpha: np.ndarray | None = None,
    ) -> None:
        """Hang a picture onto a flat quad, in true perspective.

        Args:
            quad (np.ndarray): ``(4, 3)`` world corners: top left, top right, bottom right, bottom
                left of the picture.
            albedo (np.ndarray): ``(h, w, 3)`` float32 picture.
            label (int): trainId of the whole quad.
            normal (np.ndarray): ``(3,)`` unit normal for the shading.
            glow (np.ndarray | None): ``(h, w)`` float32, 1 where the picture shines by itself.
            alpha (np.ndarray | None): ``(h, w)`` float32, 0 where one looks through (a fence); the
                label covers such holes all the same, as in Cityscapes.
        """
        corners = self.camera.project(quad).astype(np.float32)
        window = self._window(corners)
        if window is None:
            return
        rows, columns, size = window
        corners -= np.float32([columns.start, rows.start])
        lit = albedo * self.light.shade(normal).astype(np.float32)
        if glow is not None:
            lit += glow[..., None] * (albedo - lit)
        height, width = albedo.shape[:2]
        frame = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
        warp = cv2.getPerspectiveTransform(frame, corners)
        mask = np.zeros(size[::-1], np.uint8)
        fixed = np.round(corners * (1 << SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 1, cv2.LINE_8, SUBPIXEL_BITS)
        inside = mask.astype(bool)
        hung = cv2.warpPerspective(lit, warp, size, borderMode=cv2.BORDER_REPLICATE)
        solid = inside
        if alpha is not None:
            solid = inside & (
                cv2.warpPerspective(alpha, warp, size, borderMode=cv2.BORDER_REPLICATE) > 0.5
            )
        depth = _plane_depth(corners, quad[:, 2], size)
        np.copyto(self.colour[rows, columns], hung, where=solid[..., None])
        np.copyto(self.depth[rows, columns], depth, where=solid)
        self.label[rows, columns][inside] = label

    def sprite(
        self, x: float, y: float, z: float, size: tuple[float, float], lit: np.ndarray,
        mask: np.ndarray, label: int,
    ) -> None:  # fmt: skip
        """Put up a cut-out picture that faces the camera.

        Args:
            x (float): Middle of the cut-out in metres.
            y (float): Lower edge of the cut-out in metres.
            z (float): Distance in metres.
            size (tuple[float, float]): Width and height in metres.
            lit (np.ndarray): ``(h, w, 3)`` float32 light, shading included.
            mask (np.ndarray): ``(h, w)`` float32, above 0.5 where the cut-out is solid.
            label (int): trainId.
        """
        low = self.camera.project(np.array([x - size[0] / 2, y, z]))
        high = self.camera.project(np.array([x + size[0] / 2, y + size[1], z]))
        corners = np.float32([[low[0], high[1]], [high[0], low[1]]])
        window = self._window(corners)
        if window is None or (corners[1] - corners[0]).min() < 1:
            return
        rows, columns, _ = window
        height, width = mask.shape
        scale = np.float32([width, height]) / (corners[1] - corners[0])
        u = (np.arange(columns.start, columns.stop) + 0.5 - corners[0, 0]) * scale[0] - 0.5
        v = (np.arange(rows.start, rows.stop) + 0.5 - corners[0, 1]) * scale[1] - 0.5
        grid = np.meshgrid(u.astype(np.float32), v.astype(np.float32))
        solid = cv2.remap(mask, *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) > 0.5
        shown = cv2.remap(lit, *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        np.copyto(self.colour[rows, columns], shown, where=solid[..., None])
        self.label[rows, columns][solid] = label
        self.depth[rows, columns][solid] = z

    def shows(self, points: np.ndarray) -> bool:
        """Whether the box around some world points ``(n, 3)`` meets the picture."""
        return self._window(self.camera.project(points)) is not None

    def _window(self, corners: np.ndarray) -> tuple[slice, slice, tuple[int, int]] | None:
        """The part of the canvas around some corners: rows, columns, (width, height)."""
        low = np.floor(corners.min(0)).astype(int)
        high = np.ceil(corners.max(0)).astype(int) + 1
        left, top = np.maximum(low, 0)
        right, bottom = np.minimum(high, [self.camera.width, self.camera.height])
        if left >= right or top >= bottom:
            return None
        extent = (int(right - left), int(bottom - top))
        return slice(int(top), int(bottom)), slice(int(left), int(right)), extent


def _plane_depth(corners: np.ndarray, z: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Depth of each pixel of a plane: the inverse of depth is linear across the picture."""
    # Three corners fix the plane; the fourth lies on it but for the bend of the road.
    system = np.column_stack([corners[:3], np.ones(3)]).astype(np.float64)
    slope_u, slope_v, offset = np.linalg.solve(system, 1 / z[:3])
    u, v = np.arange(size[0]), np.arange(size[1])[:, None]
    low, high = 1 / z.max(), 1 / z.min()
    return (1 / np.clip(slope_u * u + slope_v * v + offset, low, high)).astype(np.float32)


class Flat:
    """A card that stands on the ground, to draw small things on in their own coordinates.

    Card coordinates are (across, up) in metres; across = 0, up = 0 is the point on the ground.

    Args:
        painter (Painter): Paints the card.
        x (float): Position in metres.
        z (float): Position in metres.
        turn (float): Angle in radians between the card and the picture plane. Defaults to 0.
    """

    def __init__(self, painter: Painter, x: float, z: float, turn: float = 0.0) -> None:
        self.painter = painter
        self.origin = np.array([x, 0.0, z])
        self.across = np.array([np.cos(turn), 0.0, np.sin(turn)])
        self.scale = painter.camera.metres(1.0, z)

    def polygon(
        self, points: np.ndarray | Sequence[Sequence[float]], colour: Colour, label: int,
        shines: bool = False,
    ) -> None:  # fmt: skip
        """Paint a polygon ``(n, 2)`` of card coordinates."""
        card = np.asarray(points, np.float64)
        world = self.origin + card[:, :1] * self.across + card[:, 1:] * np.array([0.0, 1.0, 0.0])
        normal = None if shines else TOWARDS_CAMERA
        self.painter.polygon(world, colour, label, normal)

    def limb(
        self, start: Sequence[float], end: Sequence[float], widths: tuple[float, float],
        colour: Colour, label: int,
    ) -> None:  # fmt: skip
        """Paint a tapered stroke from start to end, ``widths`` metres wide at the two ends."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.hypot(dx, dy)
        if length * self.scale < SMALLEST:
            return
        (ax, ay), (bx, by) = start, end
        u, v = -dy / length / 2, dx / length / 2
        w0, w1 = widths
        shape = [[ax + u * w0, ay + v * w0], [bx + u * w1, by + v * w1],
                 [bx - u * w1, by - v * w1], [ax - u * w0, ay - v * w0]]  # fmt: skip
        self.polygon(shape, colour, label)

    def disc(
        self, centre: Sequence[float], radius: float | tuple[float, float], colour: Colour,
        label: int, corners: int = 14, shines: bool = False,
    ) -> None:  # fmt: skip
        """Paint a disc, an ellipse (two radii) or a regular polygon (few corners)."""
        if np.max(radius) * self.scale < SMALLEST / 3:
            return
        angle = (np.arange(corners) + 0.5) * 2 * np.pi / corners
        ring = np.stack([np.sin(angle), -np.cos(angle)], axis=1) * np.asarray(radius)
        self.polygon(np.asarray(centre) + ring, colour, label, shines)
