"""Outlines of things as a camera sees them: filled polygons, without any simulator.

Every kind is convex from outside (a bowl nearly so), so its outline is the hull of its corners.
"""

import functools
import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.camera import View
from sim.scene import WALL, Receptacle

Mask = NDArray[np.bool_]

ITEMS = ("block", "cylinder")
# how many objects fit into those that lessons draw
SLOTS = {"tray": 3, "box": 3, "bowl": 2, "zone": 3}
KINDS = (*ITEMS, *SLOTS)
SIZE_M = 0.048  # the middle one of all items
# edges that a painter softens look a little nearer in or farther out
SIZES_M = (0.043, 0.046, 0.049, 0.052)
_ROUND = 24  # corners of a circle
_BOWL_OUT = 0.016  # m by which a bowl's rim is wider than its floor
_FINE = 4  # times finer than pixels


@functools.cache
def corners(kind: str, yaw: float, size: float = SIZE_M) -> NDArray[np.float64]:
    """Corners [N, 3] of a thing that stands at the origin of the table, m."""
    if kind == "cylinder":
        round_ = _circle(size / 2, _ROUND)
        return _prism(round_, round_, size)
    if kind == "block":
        square = _box(size / 2, size / 2, yaw)
        return _prism(square, square, size)
    like = Receptacle("", kind, "red", SLOTS[kind], 0.0, 0.0, yaw)
    if kind == "bowl":
        side = 1 / math.cos(math.pi / 8)
        turn = yaw + math.pi / 8
        low = _circle(like.half[0] * side, 8, turn)
        high = _circle((like.half[0] + _BOWL_OUT) * side, 8, turn)
        return _prism(low, high, like.wall_height)
    wall = 0.0 if kind == "zone" else WALL
    base = _box(like.half[0] + wall, like.half[1] + wall, yaw)
    return _prism(base, base, like.wall_height)


def turns(kind: str) -> Iterator[float]:
    """The turns about the vertical that a thing may have and that look different, rad."""
    if kind == "cylinder":
        yield 0.0
    elif kind == "block":
        yield from (math.radians(degrees) for degrees in range(0, 90, 5))
    elif kind == "bowl":
        yield from (math.radians(degrees) for degrees in range(-10, 15, 5))
    else:
        yield from (math.radians(turn + degrees) for turn in (0, 90) for degrees in range(-10, 15, 5))


def outline(view: View, points: NDArray[np.float64], at: tuple[float, float, float]) -> NDArray[np.float32]:
    """Corners in pixels [N, 2] (column, row) of a thing whose centre's foot is at a point, m."""
    pose, fx, fy, cx, cy = _pinhole(view)
    own = (points + np.array(at) - pose[:3, 3]) @ pose[:3, :3]
    pixels = own[:, :2] / own[:, 2:] * (fx, fy) + (cx, cy)
    return np.asarray(pixels, np.float32)


@functools.cache
def _pinhole(view: View) -> tuple[NDArray[np.float64], float, float, float, float]:
    """Pose [4, 4] and the four intrinsics, px: View.project for many points."""
    k = view.camera.k
    return view.world_from_optical(), k[0], k[4], k[2], k[5]


def filled(pixels: NDArray[np.float32], shape: tuple[int, int], origin: tuple[int, int]) -> Mask:
    """The hull of the corners as a mask [H, W] whose first pixel is `origin` (column, row)."""
    hull = cv2.convexHull((pixels - np.array(origin, np.float32)) * _FINE - 0.5)
    image = np.zeros((shape[0] * _FINE, shape[1] * _FINE), np.uint8)
    cv2.fillConvexPoly(image, np.round(hull).astype(np.int32), 255)
    # a fill takes its border along, which at this size is little
    return cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_AREA) > 127


def _prism(low: NDArray[np.float64], high: NDArray[np.float64], height: float) -> NDArray[np.float64]:
    """An outline [N, 2] on the table and one at a height."""
    return np.concatenate(
        [np.column_stack((low, np.zeros(len(low)))), np.column_stack((high, np.full(len(high), height)))]
    )


def _circle(radius: float, count: int, turn: float = 0.0) -> NDArray[np.float64]:
    angles = turn + 2 * math.pi * np.arange(count) / count
    return radius * np.column_stack((np.cos(angles), np.sin(angles)))


def _box(half_u: float, half_v: float, yaw: float) -> NDArray[np.float64]:
    c, s = math.cos(yaw), math.sin(yaw)
    own = np.array([(half_u, half_v), (-half_u, half_v), (-half_u, -half_v), (half_u, -half_v)])
    return own @ np.array([(c, s), (-s, c)])
